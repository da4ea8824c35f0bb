// Takes the place out of pictures: reads each file of a folder, writes it back; Python looks at what is left.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import test from "node:test";

const { PictureBroken, clean } = await import(`${process.env.PAGE_MODULES}/photo.js`);

test("every picture", () => {
  for (const name of readdirSync(process.env.PICTURES)) {
    const path = `${process.env.PICTURES}/${name}`;
    try {
      writeFileSync(path, clean(new Uint8Array(readFileSync(path))));
    } catch (error) {
      if (!(error instanceof PictureBroken)) throw error;
      writeFileSync(path, "refused");
    }
  }
});
