//! Writes the table of hostile components into a folder, a file for each: seeds for fuzzing, or something to look at.

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(std::path::PathBuf::from) else {
        return Err(std::io::Error::other("the folder is missing: `ays-hostile FOLDER [MOST BYTES]`"));
    };
    let most = std::env::args().nth(2).and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    std::fs::create_dir_all(&folder)?;
    for hostile in ays_hostile::corpus() {
        if hostile.bytes.len() <= most {
            std::fs::write(folder.join(format!("{}.wasm", hostile.name)), &hostile.bytes)?;
        }
    }
    Ok(())
}
