//! `cargo xtask sbom`: what the server is made of, as CycloneDX 1.5, from the lock file and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::run;

/// Write a software bill of materials (CycloneDX JSON); the same sources give the same bytes.
#[derive(clap::Args)]
pub struct Args {
    /// The package whose dependencies are listed.
    #[arg(long, default_value = "qpq-server")]
    package: String,
    /// Where to write it [default: target/PACKAGE.cdx.json].
    #[arg(long)]
    output: Option<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let linked = linked(&args.package)?;
    let metadata = metadata()?;
    let checksums = checksums(&fs::read_to_string("Cargo.lock").context("reading Cargo.lock")?);
    let bom = bill(&args.package, &linked, &metadata, &checksums)?;
    let output = args.output.clone().unwrap_or_else(|| format!("target/{}.cdx.json", args.package));
    let text = serde_json::to_string_pretty(&bom).context("writing JSON")?;
    fs::write(&output, text + "\n").with_context(|| format!("writing {output}"))?;
    println!("{output}: {} components", linked.len());
    Ok(())
}

/// Name and version.
type Package = (String, String);

/// What is linked into the package, or runs while it is built.
fn linked(package: &str) -> Result<BTreeSet<Package>> {
    let mut tree = run::cargo();
    tree.args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let tree = run::output(tree.args(["--package", package]))?;
    Ok(tree.lines().filter_map(name_and_version).collect())
}

/// `name v1.2.3 (path)`
fn name_and_version(line: &str) -> Option<Package> {
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
}

fn metadata() -> Result<Value> {
    let mut command = run::cargo();
    let text = run::output(command.args(["metadata", "--locked", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("reading what cargo metadata printed")
}

/// SHA-256 of what the registry has, by package.
fn checksums(lock: &str) -> BTreeMap<Package, String> {
    let mut found = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            found.insert((name, version), checksum);
        }
    }
    found
}

fn bill(
    package: &str,
    linked: &BTreeSet<Package>,
    metadata: &Value,
    checksums: &BTreeMap<Package, String>,
) -> Result<Value> {
    let (mut components, mut subject) = (Vec::new(), None);
    for found in metadata["packages"].as_array().context("cargo metadata lists packages")? {
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        let id = (text("name"), text("version"));
        if !linked.contains(&id) {
            continue;
        }
        let purl = format!("pkg:cargo/{}@{}", id.0, id.1);
        let mut component = json!({
            "type": if id.0 == package { "application" } else { "library" },
            "bom-ref": purl, "name": id.0, "version": id.1, "purl": purl,
        });
        if let Some(license) = found["license"].as_str() {
            component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
        }
        if let Some(checksum) = checksums.get(&id) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        if id.0 == package { subject = Some(component) } else { components.push((id, component)) }
    }
    components.sort_by(|(one, _), (other, _)| one.cmp(other));
    let subject = subject.with_context(|| format!("there is no package {package}"))?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": subject },
        "components": components.into_iter().map(|(_, component)| component).collect::<Vec<_>>(),
        "dependencies": dependencies(linked, metadata),
    }))
}

/// Who needs whom, among what is linked.
fn dependencies(linked: &BTreeSet<Package>, metadata: &Value) -> Vec<Value> {
    let mut purls = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        if linked.contains(&(text("name"), text("version"))) {
            purls.insert(text("id"), format!("pkg:cargo/{}@{}", text("name"), text("version")));
        }
    }
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let mut found: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for node in nodes {
        let Some(purl) = node["id"].as_str().and_then(|id| purls.get(id)) else { continue };
        let needed = node["dependencies"].as_array().into_iter().flatten();
        found.insert(purl, needed.filter_map(|id| purls.get(id.as_str()?)).collect());
    }
    found.into_iter().map(|(purl, needed)| json!({ "ref": purl, "dependsOn": needed })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tree_and_blocks_of_the_lock_file_are_read() {
        let expected = ("a-b".to_owned(), "1.2.3".to_owned());
        assert_eq!(name_and_version("a-b v1.2.3 (/x/y) (*)"), Some(expected.clone()));
        let lock = "version = 4\n\n[[package]]\nname = \"a-b\"\nversion = \"1.2.3\"\nchecksum = \"00ff\"\n\n\
                    [[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(expected, "00ff".to_owned())]));
    }

    #[test]
    fn the_bill_has_the_subject_its_parts_and_who_needs_whom() -> Result<()> {
        let package = |name: &str| json!({"name": name, "version": "1.0.0", "id": name, "license": "MIT/Apache-2.0"});
        let metadata = json!({
            "packages": [package("top"), package("part"), package("unused")],
            "resolve": {"nodes": [{"id": "top", "dependencies": ["part", "unused"]}, {"id": "part", "dependencies": []}]},
        });
        let linked = ["top", "part"].map(|name| (name.to_owned(), "1.0.0".to_owned())).into();
        let checksums = BTreeMap::from([(("part".to_owned(), "1.0.0".to_owned()), "00ff".to_owned())]);
        let bom = bill("top", &linked, &metadata, &checksums)?;
        assert_eq!(bom["metadata"]["component"]["type"], "application");
        assert_eq!(bom["components"].as_array().map(Vec::len), Some(1));
        assert_eq!(bom["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bom["components"][0]["hashes"][0]["content"], "00ff");
        assert_eq!(bom["dependencies"][1]["dependsOn"], json!(["pkg:cargo/part@1.0.0"]));
        Ok(())
    }
}
