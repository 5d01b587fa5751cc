//! Writes the table of hostile components into a folder, a file for each: seeds for fuzzing, or something to look at. As
//! seeds, with a most, those are left out that only the limits of the compiler's process stop: a fuzz target has it in its own.

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(std::path::PathBuf::from) else {
        return Err(std::io::Error::other("the folder is missing: `ays-hostile FOLDER [MOST BYTES]`"));
    };
    let most: Option<usize> = std::env::args().nth(2).and_then(|most| most.parse().ok());
    std::fs::create_dir_all(&folder)?;
    for hostile in ays_hostile::corpus() {
        if most.is_none_or(|most| hostile.bytes.len() <= most && !hostile.name.starts_with("bomb_")) {
            std::fs::write(folder.join(format!("{}.wasm", hostile.name)), &hostile.bytes)?;
        }
    }
    Ok(())
}
