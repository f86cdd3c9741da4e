/** Prints what the page weighs and fails when its scripts and styles together are above 60 KB in gzip. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 60 * 1024;
const folder = join(import.meta.dirname, "..", "..", "edge", "static", "assets");

let total = 0;
for (const name of readdirSync(folder).sort()) {
  if (!/\.(js|css)$/.test(name)) continue;
  const bytes = gzipSync(readFileSync(join(folder, name)), { level: 9 }).length;
  total += bytes;
  console.log(`${name}  ${(bytes / 1024).toFixed(1)} KB gzip`);
}
console.log(`together  ${(total / 1024).toFixed(1)} KB gzip of ${LIMIT_BYTES / 1024} KB`);
if (total === 0 || total > LIMIT_BYTES) {
  console.error("The page is larger than it may be, or was not built.");
  process.exit(1);
}
