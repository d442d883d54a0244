// The shop: serves its catalogue page and proves what data it holds.
// It reads its configuration once; a changed file needs a restart, as in most real services.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');

const config = JSON.parse(fs.readFileSync(process.argv[2] || '/etc/shop/shop.json', 'utf8'));
const CHUNK = 1 << 20;
const OBJECT_TIMEOUT_MS = 5000;

// Every entry below the data path, in byte order of the relative path.
function walk(root) {
  const found = [];
  const visit = (relative) => {
    for (const name of fs.readdirSync(path.join(root, relative))) {
      if (relative === '' && name === 'lost+found') continue;
      const child = relative === '' ? name : relative + '/' + name;
      const stat = fs.lstatSync(path.join(root, child));
      found.push({ child, stat });
      if (stat.isDirectory()) visit(child);
    }
  };
  visit('');
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.child), Buffer.from(b.child)));
}

// digest: path, size and content of the files. meta: kind, mode, owner and links of everything.
async function digest(root) {
  const content = crypto.createHash('sha256');
  const meta = crypto.createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK);
  let files = 0, bytes = 0, entries = 0;
  for (const { child, stat } of walk(root)) {
    const full = path.join(root, child);
    const target = stat.isSymbolicLink() ? fs.readlinkSync(full) : '';
    const links = stat.isDirectory() ? 0 : stat.nlink;
    meta.update(`${child}\0${stat.mode.toString(8)}\0${stat.uid}:${stat.gid}\0${links}\0${target}\n`);
    if (++entries % 64 === 0) await new Promise(setImmediate); // keep answering meanwhile
    if (!stat.isFile()) continue;
    files += 1;
    bytes += stat.size;
    content.update(`${child}\0${stat.size}\0`);
    const fd = fs.openSync(full, 'r');
    for (let n; (n = fs.readSync(fd, buffer, 0, CHUNK, null)) > 0;) {
      content.update(buffer.subarray(0, n));
      if (n === CHUNK) await new Promise(setImmediate);
    }
    fs.closeSync(fd);
  }
  return { digest: content.digest('hex'), meta: meta.digest('hex'), files, entries, bytes };
}

// The object store stays where it is, so it is asked live each time.
function fetchObject(name) {
  return new Promise((resolve, reject) => {
    const request = http.get(`${config.objects}/${name}`, { timeout: OBJECT_TIMEOUT_MS }, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        return reject(new Error(`object store answered ${response.statusCode} for ${name}`));
      }
      const hash = crypto.createHash('sha256');
      response.on('data', (part) => hash.update(part));
      response.on('end', () => resolve(hash.digest('hex')));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('object store timed out')));
    request.on('error', reject);
  });
}

// Computed once in the background; a write through this process starts it again.
let current = null;
function refresh() {
  current = digest(config.data);
  current.catch((error) => console.error(`digest failed: ${error.message}`));
}

function store(name, request, reply) {
  const file = path.join(config.data, 'orders', name);
  const out = fs.createWriteStream(file);
  out.on('error', (error) => reply(500, { error: error.message }));
  out.on('finish', () => {
    refresh();
    reply(201, { stored: file });
  });
  request.pipe(out);
}

const server = http.createServer(async (request, response) => {
  const reply = (status, body) => {
    response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body) + '\n');
  };
  const object = () => fetchObject('catalog.json').catch((error) => ({ error: error.message }));
  const identity = { data: config.data, interpreter: process.execPath, hostname: os.hostname() };
  const order = /^\/orders\/([a-z0-9][a-z0-9.-]{0,63})$/.exec(request.url);
  try {
    if (request.method === 'PUT' && order) return store(order[1], request, reply);
    if (request.url === '/') return reply(200, `shop on ${os.hostname()}, data at ${config.data}\n`);
    if (request.url === '/digest') return reply(200, { ...(await current), ...identity, object: await object() });
    if (request.url === '/health') {
      fs.readdirSync(config.data);
      const answer = await object();
      return reply(answer.error ? 503 : 200, { ok: !answer.error, object: answer, ...identity });
    }
    return reply(404, { error: `no such page: ${request.url}` });
  } catch (error) {
    return reply(503, { error: error.message, ...identity });
  }
});

refresh();
server.listen(config.port, () => console.log(`shop answers on port ${config.port}, data at ${config.data}`));
