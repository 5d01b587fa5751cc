use ays_sdk::prelude::*;

#[derive(Serialize, Deserialize, Schema)]
struct Default_ {
    #[schema(default = "many")]
    cores: u32,
}

#[derive(Serialize, Deserialize, Schema)]
struct Regex {
    #[schema(regex = "[a-z")]
    name: String,
}

#[derive(Serialize, Deserialize, Schema)]
struct Type {
    #[schema(type = "colour")]
    name: String,
}

#[derive(Serialize, Deserialize, Schema)]
struct Unknown {
    #[schema(defautl = "x")]
    name: String,
}

#[derive(Serialize, Deserialize, Schema)]
#[schema(parent(role = "node"))]
struct Parent {
    name: String,
}

fn main() {}
