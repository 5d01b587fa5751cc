use ays_sdk::prelude::*;

#[derive(Schema)]
struct Probe;

#[actor]
impl Probe {
    #[action]
    fn generic<T: Default>(&self) {}

    #[action]
    fn not_a_method(job: &Job) {}

    #[action]
    fn by_value(self) {}

    #[action]
    async fn asynchronous(&self) {}

    #[action]
    unsafe fn dangerous(&self) {}

    #[action]
    fn job_by_value(&self, job: Job) {}

    #[action]
    fn job_not_first(&self, name: String, job: &Job) {}

    #[action]
    fn borrowed_arg(&self, job: &Job, name: &str) {}

    #[action]
    fn nameless_arg(&self, (a, b): (u8, u8)) {}

    #[action]
    fn opaque(&self) -> impl Iterator<Item = u8> {
        [1].into_iter()
    }
}

fn main() {}
