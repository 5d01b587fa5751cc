// BullMQ: one list for all services, so no order within a service. Completed jobs are kept.

import { Queue, Worker } from "bullmq";
import Redis from "ioredis";

const NAME = "rivals";

/** The sorted set of finished jobs: the benchmark asks its size. */
export const finished = `bull:${NAME}:completed`;

const connect = (url, enableAutoPipelining = false) =>
  new Redis(url, { maxRetriesPerRequest: null, enableAutoPipelining });

const options = { removeOnComplete: false, removeOnFail: false, attempts: 7 };

const job = (service, data) => ({ name: `bump${service}`, data, opts: options });

/** Something to add jobs with. */
export function producer(url) {
  const connection = connect(url);
  const queue = new Queue(NAME, { connection });
  return {
    add: (service, data) => queue.add(`bump${service}`, data, options),
    addMany: (jobs) => queue.addBulk(jobs.map(({ service, data }) => job(service, data))),
    close: async () => {
      await queue.close();
      await connection.quit();
    },
  };
}

/** A worker that does not run yet; `handler` gets a job's data. */
export function worker({ url, concurrency, pipelining }, handler) {
  const worker = new Worker(NAME, (job) => handler(job.data), {
    connection: connect(url, pipelining),
    concurrency,
    autorun: false,
  });
  worker.on("error", (error) => console.error(error));
  worker.on("failed", (_, error) => console.error(error));
  return {
    ready: () => worker.waitUntilReady(),
    run: () => worker.run(),
  };
}
