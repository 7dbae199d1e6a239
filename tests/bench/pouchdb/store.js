// PouchDB on LevelDB: the same documents in batches of 1,000, then random reads by id, one after the other.
//
//   node store.js MODULES DOCUMENTS.jsonl FOLDER DOCUMENT_COUNT READS_PER_BLOCK
//
// Repeats the file's documents as bench_store does. Prints one JSON object.
"use strict";
const fs = require("fs");
const path = require("path");
const [modules, documentsFile, folder, documentCount, readCount] = process.argv.slice(2);
const PouchDB = require(path.join(modules, "pouchdb"));

async function main() {
  const lines = fs.readFileSync(documentsFile, "utf8").split("\n").filter(Boolean);
  const db = new PouchDB(path.join(folder, "pouch"));
  const documents = [];
  for (let i = 0; i < Number(documentCount); ++i) {
    const document = JSON.parse(lines[i % lines.length]);
    const copy = Math.floor(i / lines.length);
    if (copy > 0) document.id = document.name = `${document.id}-${copy}`;
    document.size += copy * 7;
    document._id = document.id;
    documents.push(document);
  }
  let started = process.hrtime.bigint();
  for (let begin = 0; begin < documents.length; begin += 1000) {
    const replies = await db.bulkDocs(documents.slice(begin, begin + 1000));
    if (replies.some((reply) => reply.error)) throw new Error("bulkDocs refused a document");
  }
  const importNs = Number(process.hrtime.bigint() - started) / documents.length;
  const blocks = [];
  let state = 12345;
  for (let block = 0; block < 15; ++block) {
    started = process.hrtime.bigint();
    for (let i = 0; i < Number(readCount); ++i) {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      const document = await db.get(documents[state % documents.length]._id);
      if (!document.text) throw new Error("a document came back without its text");
    }
    blocks.push(Number(process.hrtime.bigint() - started) / Number(readCount));
  }
  await db.close();
  console.log(JSON.stringify({ documents: documents.length, import_ns: importNs, get_ns: blocks }));
}

main().catch((error) => {
  console.error("pouchdb:", error.message);
  process.exit(1);
});
