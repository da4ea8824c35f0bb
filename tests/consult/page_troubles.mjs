// The board's words for what can be wrong, run by Node.js: the codes are those of the program.
import assert from "node:assert/strict";
import test from "node:test";

globalThis.localStorage = { getItem: () => null, setItem: () => undefined };
Object.defineProperty(globalThis, "navigator", { value: { language: "zh-CN" }, configurable: true });
const { TROUBLES, sayServiceTrouble } = await import(`${process.env.PAGE_MODULES}/troublewords.js`);
const codes = JSON.parse(process.env.TROUBLES);

test("words for every code, and for no other", () => {
  assert.deepEqual(Object.keys(TROUBLES).sort(), [...codes].sort());
});

for (const code of codes) {
  test(code, () => {
    const { en, zh } = TROUBLES[code];
    assert.match(en, /^[A-Z][^\u4e00-\u9fff]+\.$/);
    assert.match(zh, /^[^.]*[\u4e00-\u9fff][^.]*。$/);
    assert.equal(sayServiceTrouble(code), zh);
  });
}

test("a code of another version is said as it stands", () => {
  assert.equal(sayServiceTrouble("new-trouble"), "new-trouble");
});
