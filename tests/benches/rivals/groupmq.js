// GroupMQ: a group for each service, whose jobs run in order, one at a time. Completed jobs are kept.

import { Queue, Worker } from "groupmq";
import Redis from "ioredis";

const NAME = "rivals";

/** The sorted set of finished jobs: the benchmark asks its size. */
export const finished = `groupmq:${NAME}:completed`;

const KEPT = 100_000_000;

const queue = (redis) =>
  new Queue({ redis, namespace: NAME, keepCompleted: KEPT, keepFailed: KEPT, maxAttempts: 7 });

const connect = (url, enableAutoPipelining = false) =>
  new Redis(url, { maxRetriesPerRequest: null, enableAutoPipelining });

/** Something to add jobs with. */
export function producer(url) {
  const redis = connect(url);
  const jobs = queue(redis);
  const add = (service, data) => jobs.add({ groupId: `s${service}`, data });
  return {
    add,
    addMany: (many) => Promise.all(many.map(({ service, data }) => add(service, data))),
    close: async () => {
      await jobs.close();
      redis.disconnect();
    },
  };
}

/** A worker that does not run yet; `handler` gets a job's data. */
export function worker({ url, concurrency, pipelining }, handler) {
  const redis = connect(url, pipelining);
  const worker = new Worker({
    queue: queue(redis),
    concurrency,
    handler: (job) => handler(job.data),
    onError: (error) => console.error(error),
  });
  return {
    ready: () => redis.ping(),
    run: () => worker.run(),
  };
}
