//! Wrong use does not compile, and the message says what is wrong and what would be right.

#[test]
fn wrong_use_is_refused_at_the_place_where_it_is_written() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
