//! `cargo xtask install --prefix DIR`: the C library, its header and its pkg-config file, where compilers look for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{header, run};

/// Build the C library and install it, with header and pkg-config file.
#[derive(clap::Args)]
pub struct Args {
    /// Below this folder: `include`, `lib`, `lib/pkgconfig`.
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// What the installed files will call that folder, if it is moved later (packaging).
    #[arg(long, value_name = "DIR")]
    final_prefix: Option<PathBuf>,
    /// The debug build instead of the release build.
    #[arg(long)]
    debug: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let mut build = run::cargo();
    build.args(["build", "--locked"]);
    if args.debug {
        // As for the tests, which would otherwise build all dependencies once more with other features.
        build.arg("--workspace");
    } else {
        build.args(["--release", "--package", "qpq-ffi"]);
    }
    run::checked(&mut build)?;
    let built = target_folder().join(if args.debug { "debug" } else { "release" });
    fs::create_dir_all(&args.prefix).with_context(|| format!("creating {}", args.prefix.display()))?;
    let prefix = fs::canonicalize(&args.prefix)?;
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    copy(Path::new(header::HEADER), &include.join("qpq.h"))?;
    if cfg!(target_os = "macos") {
        copy(&built.join("libqpq.a"), &lib.join("libqpq.a"))?;
        copy(&built.join("libqpq.dylib"), &lib.join("libqpq.dylib"))?;
    } else {
        hide(&built.join("libqpq.a"), &lib.join("libqpq.a"))?;
        // Programs look for the name with the ABI's version, compilers for the one without.
        copy(&built.join("libqpq.so"), &lib.join(SONAME))?;
        let link = lib.join("libqpq.so");
        let _ = fs::remove_file(&link);
        symlink(SONAME, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    let description = pkg_config(args.final_prefix.as_deref().unwrap_or(&prefix));
    let file = lib.join("pkgconfig/qpq.pc");
    fs::create_dir_all(lib.join("pkgconfig"))?;
    fs::write(&file, description).with_context(|| format!("writing {}", file.display()))?;
    println!("installed below {}", prefix.display());
    Ok(())
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    // A program that runs goes on with the old file.
    let _ = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    println!("{}", to.display());
    Ok(())
}

/// The static library as one object that gives away nothing but its own functions: a program may have another SQLite or
/// OpenSSL.
fn hide(from: &Path, to: &Path) -> Result<()> {
    let (whole, hidden) = (from.with_extension("whole.o"), from.with_extension("hidden.o"));
    run::checked(Command::new("ld").args(["-r", "-d", "--whole-archive"]).arg(from).arg("-o").arg(&whole))?;
    let mut objcopy = Command::new("objcopy");
    objcopy.args(["--wildcard", "--keep-global-symbol=qpq_*"]);
    // What is left of the bitcode of several objects is none any more.
    objcopy.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
    run::checked(objcopy.arg(&whole).arg(&hidden))?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let _ = fs::remove_file(to);
    run::checked(Command::new("ar").arg("rcs").arg(to).arg(&hidden))?;
    [whole, hidden].iter().try_for_each(fs::remove_file).context("removing what was made on the way")?;
    println!("{}", to.display());
    Ok(())
}

fn pkg_config(prefix: &Path) -> String {
    format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
         Name: qpq\nDescription: End-to-end encrypted messaging for other programs\nVersion: {}\n\
         Libs: -L${{libdir}} -lqpq\nLibs.private: {STATIC}\nCflags: -I${{includedir}}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    )
}

const SONAME: &str = "libqpq.so.1";
/// What whoever links the static library has to link as well, as `rustc --print native-static-libs` says. The dynamic one
/// brings it along.
const STATIC: &str = if cfg!(target_os = "macos") {
    "-framework Security -framework CoreFoundation -liconv -lc -lm"
} else {
    "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
};
