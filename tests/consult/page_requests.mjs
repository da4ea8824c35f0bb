// The page's digests and proofs, run by Node.js: the vectors are those of the Python side.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const { digestOf, proofOfDecision, proofOfHold, secretBytes } = await import(`${process.env.PAGE_MODULES}/proof.js`);
const vectors = JSON.parse(readFileSync(process.env.VECTORS, "utf8"));

for (const vector of vectors.requests) {
  test(`vector ${vector.id} ${vector.data}`, async () => {
    assert.equal(await digestOf(vector.room, vector), vector.digest);
    assert.equal(await digestOf(vector.room, { ...vector, data: vector.data.toLowerCase() }), vector.digest);
    const secret = secretBytes(vector.secret);
    assert.equal(secret.length, 32);
    const said = [vector.digest, vector.id, vector.decision, vector.unplugged];
    assert.equal(await proofOfDecision(secret, ...said), vector.proof);
    assert.equal(await proofOfHold(secret, vector.digest, vector.id, vector.count), vector.hold_proof);
  });
}

test("what is no secret", () => {
  for (const broken of ["", "x", `${vectors.requests[0].secret}A`, vectors.requests[0].secret.slice(1)]) {
    assert.equal(secretBytes(broken), null);
  }
});
