// A car's name on the pages of experts, run by Node.js.
import assert from "node:assert/strict";
import test from "node:test";

globalThis.localStorage = { getItem: () => null, setItem: () => undefined };
Object.defineProperty(globalThis, "navigator", { value: { language: "zh-CN" }, configurable: true });
const { carName } = await import(`${process.env.PAGE_MODULES}/carname.js`);
const { carOf } = await import(`${process.env.PAGE_MODULES}/reviewdraft.js`);

for (const [make, model, year, name] of [
  ["Huizhen", "EV400", 2022, "Huizhen EV400 2022"],
  ["Huizhen", null, 2022, "Huizhen 2022"],
  [null, "EV400", null, "EV400"],
  [null, null, 2024, "未知车型 (2024)"],
  ["", "", 2024, "未知车型 (2024)"],
  [null, null, null, "未知车型"],
]) {
  test(`${make} ${model} ${year}`, () => {
    const car = { make, model, model_year: year };
    assert.equal(carName(car, "未知车型"), name);
    assert.equal(carOf({ car: { ...car, mileage_km: null, simulated: false } }), name, "in a draft");
  });
}

test("the queue tells no year", () => assert.equal(carName({ make: null, model: null }, "-"), "-"));
test("a draft without a car", () => assert.equal(carOf({ car: null }), "未知车型"));
