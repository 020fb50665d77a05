//! `cargo xtask schema`: Cap'n Proto schemas to the Rust code that is committed in `qpq-proto`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// Regenerate the committed Cap'n Proto code (needs the `capnp` compiler).
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail if the committed code is not what the schemas generate.
    #[arg(long)]
    pub check: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if !run::is_available("capnp", "--version") {
        bail!(
            "the `capnp` compiler is not installed; it is in the package `capnproto` of Debian, Ubuntu, \
             Fedora, Arch and Homebrew. Only changing schemas needs it, building does not."
        );
    }
    let schemas = schemas()?;
    let fresh = generate(&schemas)?;
    let committed = committed()?;
    if args.check { compare(&fresh, &committed) } else { replace(&fresh, &committed) }
}

/// Generated code by file name (`ids_capnp.rs`).
type Files = BTreeMap<String, String>;

fn schemas() -> Result<Vec<PathBuf>> {
    let mut schemas = files_with_suffix(Path::new(SCHEMAS), ".capnp")?;
    schemas.sort();
    if schemas.is_empty() {
        bail!("no `.capnp` file in `{SCHEMAS}`");
    }
    Ok(schemas)
}

/// Generates into a scratch folder first, so that a schema error leaves the committed code alone.
fn generate(schemas: &[PathBuf]) -> Result<Files> {
    let scratch = Path::new(SCRATCH);
    if scratch.exists() {
        fs::remove_dir_all(scratch).context("emptying the scratch folder")?;
    }
    fs::create_dir_all(scratch).context("creating the scratch folder")?;
    let mut compiler = capnpc::CompilerCommand::new();
    compiler.src_prefix(SCHEMAS).output_path(scratch).default_parent_module(vec!["generated".into()]);
    for schema in schemas {
        compiler.file(schema);
    }
    compiler.run().context("compiling the schemas")?;

    let generated = files_with_suffix(scratch, SUFFIX)?;
    run::checked(Command::new("rustfmt").args(["--edition", "2024", "--config-path", "."]).args(&generated))?;
    let files = read(generated)?;
    fs::remove_dir_all(scratch).context("removing the scratch folder")?;
    Ok(files)
}

fn committed() -> Result<Files> {
    fs::create_dir_all(GENERATED).with_context(|| format!("creating {GENERATED}"))?;
    read(files_with_suffix(Path::new(GENERATED), SUFFIX)?)
}

fn compare(fresh: &Files, committed: &Files) -> Result<()> {
    let mut differences = Vec::new();
    for (name, code) in fresh {
        match committed.get(name) {
            None => differences.push(format!("{name} is missing")),
            Some(old) if old != code => differences.push(format!("{name} is not current")),
            Some(_) => {}
        }
    }
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        differences.push(format!("{name} has no schema"));
    }
    if !differences.is_empty() {
        bail!(
            "{GENERATED} does not match {SCHEMAS}; run `cargo xtask schema` and commit the result:\n  {}",
            differences.join("\n  ")
        );
    }
    println!("{} generated files are current", fresh.len());
    Ok(())
}

/// Writes only what differs, so that an unchanged schema rebuilds nothing.
fn replace(fresh: &Files, committed: &Files) -> Result<()> {
    for (name, code) in fresh {
        if committed.get(name) != Some(code) {
            fs::write(Path::new(GENERATED).join(name), code).with_context(|| format!("writing {name}"))?;
            println!("wrote {GENERATED}/{name}");
        }
    }
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(Path::new(GENERATED).join(name)).with_context(|| format!("removing {name}"))?;
        println!("removed {GENERATED}/{name}: it has no schema");
    }
    Ok(())
}

fn files_with_suffix(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
        if entry.file_name().to_string_lossy().ends_with(suffix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn read(paths: Vec<PathBuf>) -> Result<Files> {
    let mut files = Files::new();
    for path in paths {
        let code = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().context("a listed file has a name")?;
        files.insert(name.to_string_lossy().into_owned(), code);
    }
    Ok(files)
}

const SCHEMAS: &str = "schemas";
const GENERATED: &str = "crates/qpq-proto/src/generated";
const SCRATCH: &str = "target/xtask/schema";
const SUFFIX: &str = "_capnp.rs";
