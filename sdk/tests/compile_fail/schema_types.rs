use ays_sdk::prelude::*;

struct Opaque;

#[derive(Schema)]
struct Option_ {
    name: Option<String>,
}

#[derive(Schema)]
struct Unknown {
    what: Opaque,
}

#[derive(Schema)]
struct Tuple(String);

#[derive(Schema)]
struct Generic<T> {
    what: T,
}

#[derive(Schema)]
enum Enum {
    A,
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
struct Renamed {
    first_name: String,
}

fn main() {}
