// Where notices lead.
import assert from "node:assert/strict";
import test from "node:test";

const { ownPath } = await import(`${process.env.PAGE_MODULES}/ownpath.js`);

test("every notice leads to where the service says", () => {
  for (const path of JSON.parse(process.env.PATHS)) assert.equal(ownPath(path), path);
});

test("nothing else leads anywhere but to the lobby", () => {
  for (const path of ["//evil.example", "https://evil.example", "javascript:alert(1)", "/review#a#b", "/review#<b>", "/\\evil.example"]) assert.equal(ownPath(path), "/rooms");
});
