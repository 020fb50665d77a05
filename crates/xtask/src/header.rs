//! `cargo xtask header`: the C header that is committed beside `qpq-ffi`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Regenerate the committed C header.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail if the committed header is not what the code generates.
    #[arg(long)]
    pub check: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let fresh = generate()?;
    if args.check {
        if fs::read_to_string(HEADER).ok().as_ref() != Some(&fresh) {
            bail!("{HEADER} is not current; run `cargo xtask header` and commit the result");
        }
        println!("{HEADER} is current");
        return Ok(());
    }
    if let Some(folder) = Path::new(HEADER).parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    fs::write(HEADER, fresh).with_context(|| format!("writing {HEADER}"))?;
    println!("wrote {HEADER}");
    Ok(())
}

fn generate() -> Result<String> {
    let config = cbindgen::Config::from_file(CONFIG).map_err(|error| anyhow::anyhow!("{CONFIG}: {error}"))?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(source);
    }
    let bindings = builder.generate().context("reading the sources of qpq-ffi")?;
    let mut header = Vec::new();
    bindings.write(&mut header);
    let text = String::from_utf8(header).context("the header is text")?;
    Ok(for_c(&text))
}

/// What the compiler of Rust wants to be called "safety" is about pointers.
fn for_c(text: &str) -> String {
    text.replace("* # Safety\n", "* Pointers:\n")
}

pub const HEADER: &str = "crates/qpq-ffi/include/qpq.h";
const CONFIG: &str = "crates/qpq-ffi/header.toml";
const SOURCES: &[&str] = &["crates/qpq-ffi/src/status.rs", "crates/qpq-ffi/src/abi.rs"];
