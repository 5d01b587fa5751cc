// One process of a rival: `node run.js LIBRARY TASK OPTIONS`, where OPTIONS are JSON.
//
//   fill   adds `events` jobs for `services` services, and ends
//   count  a worker whose handler does one write to Redis, the service's new state
//   time   a worker whose handler notes how long ago its job was pushed
//   push   adds `rate` jobs a second for `seconds` seconds, each with the time of its push
//
// A task that is not `fill` says `ready` and begins when a line comes in; a worker ends with its input, and says then
// what it has noted: for each job the time of its push and how long after that its handler started, in microseconds.
// Times are of the machine's monotonic clock, the same in all processes.

import Redis from "ioredis";
import { createInterface } from "node:readline";

const [library, task, given] = process.argv.slice(2);
const options = JSON.parse(given);
const { url, services, events, pipelining, rate, seconds } = options;
const rival = await import(`./${library}.js`);

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const begin = async () => {
  console.log("ready");
  await input.next();
};
const end = (said) => process.stdout.write(`${JSON.stringify(said)}\n`, () => process.exit(0));

const nanoseconds = () => process.hrtime.bigint();

const tasks = {
  async fill() {
    const { addMany, close } = rival.producer(url);
    const batch = 1000;
    for (let first = 0; first < events; first += batch) {
      const length = Math.min(batch, events - first);
      await addMany(
        Array.from({ length }, (_, n) => {
          const service = (first + n) % services;
          return { service, data: { service, args: ["some text that an event carries", 12345] } };
        }),
      );
    }
    await close();
    end({ finished: rival.finished });
  },

  async count() {
    const redis = new Redis(url, { enableAutoPipelining: pipelining });
    const handler = ({ service }) => redis.hincrby("rivals:counts", `s${service}`, 1);
    const worker = rival.worker(options, handler);
    await worker.ready();
    await begin();
    worker.run();
    await input.next();
    end({});
  },

  async time() {
    const noted = [];
    const worker = rival.worker(options, async ({ pushed }) => {
      const now = nanoseconds();
      noted.push([Number(pushed) / 1000, Number(now - BigInt(pushed)) / 1000]);
    });
    await worker.ready();
    await begin();
    worker.run();
    await input.next();
    end({ noted });
  },

  async push() {
    const { add, close } = rival.producer(url);
    await add(0, { service: 0, pushed: String(nanoseconds()) });
    await begin();
    const began = performance.now();
    const adding = [];
    while (adding.length < rate * seconds) {
      const due = Math.min(rate * seconds, ((performance.now() - began) / 1000) * rate);
      while (adding.length < due) {
        const service = adding.length % services;
        adding.push(add(service, { service, pushed: String(nanoseconds()) }));
      }
      await new Promise((resolve) => setTimeout(resolve, 0.5));
    }
    await Promise.all(adding);
    const lasted = performance.now() - began;
    await close();
    end({ lasted_ms: lasted, finished: rival.finished });
  },
};

await tasks[task]();
