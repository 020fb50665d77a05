//! The C library as it is installed, and the chat client in C that is built with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use qpq_tests::world::{PASSWORD, Server, binaries, wait};
use tempfile::TempDir;

/// What `cargo xtask install` makes, once for all tests here; in cargo's own folder for such things, which it replaces the next
/// time.
pub fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        let mut install = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        install.args(["run", "--quiet", "--locked", "--package", "xtask", "--", "install", "--prefix"]);
        install.arg(&prefix).current_dir(workspace()).stdout(Stdio::null());
        if binaries().ends_with("debug") {
            install.arg("--debug");
        }
        assert!(install.status().expect("cargo is there").success(), "the library cannot be installed");
        prefix
    })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn is_available(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

#[test]
fn the_library_exports_its_functions_and_nothing_else() -> Result<()> {
    if !is_available("nm") {
        println!("skipped: nm is not installed");
        return Ok(());
    }
    let header = std::fs::read_to_string(installed().join("include/qpq.h"))?;
    for (library, which) in [("lib/libqpq.so", "--dynamic"), ("lib/libqpq.a", "--extern-only")] {
        if library.ends_with(".a") && cfg!(target_os = "macos") {
            continue;
        }
        let symbols = Command::new("nm").args([which, "--defined-only"]).arg(installed().join(library)).output()?;
        let symbols = String::from_utf8(symbols.stdout)?;
        let symbols = symbols.lines().filter(|line| !line.ends_with(':'));
        let exported: Vec<&str> = symbols.filter_map(|line| line.split_whitespace().last()).collect();
        let missing = exported.iter().find(|name| !header.contains(&format!("{name}(")));
        ensure!(missing.is_none(), "{missing:?} is exported by {library} and not in the header");
        ensure!(exported.len() == 15 && exported.iter().all(|name| name.starts_with("qpq_")), "{exported:?}");
    }
    Ok(())
}

#[test]
fn two_people_chat_in_c_and_one_of_them_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(program) = compile(&folder)? else { return Ok(()) };
    let linked_in = compile_static(&folder)?;
    let data = tempfile::tempdir()?;
    let server = Server::start(data.path())?;
    let start = |name: &str, peer: &str| {
        let program = if name == "bob" { &linked_in } else { &program };
        Chat::start(program, &folder.path().join(name), &server, name, peer)
    };
    let mut bob = start("bob", "@alice")?;
    let mut alice = start("alice", "@bob")?;
    alice.say("hello from C, \"quoted\" \\ and 👍")?;
    bob.hears("alice: hello from C, \"quoted\" \\ and 👍")?;
    bob.say("hello")?;
    alice.hears("bob: hello")?;
    // When this has gone out, what was printed before has been acknowledged.
    alice.say("one moment")?;
    bob.hears("alice: one moment")?;
    alice.kill()?;
    bob.say("are you there?")?;
    bob.say("/quit")?;
    bob.ends()?;
    let mut alice = start("alice", "@bob")?;
    alice.hears("bob: are you there?")?;
    alice.say("/quit")?;
    alice.ends()
}

/// The example, with as many checks as the compiler here can build in.
fn compile(folder: &TempDir) -> Result<Option<PathBuf>> {
    if !is_available("cc") {
        println!("skipped: there is no C compiler (cc)");
        return Ok(None);
    }
    let (prefix, program) = (installed(), folder.path().join("chat"));
    let build = |sanitizers: &[&str]| -> Result<bool> {
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"]);
        cc.args(sanitizers).arg(workspace().join("examples/c/chat.c")).arg("-o").arg(&program);
        cc.arg("-I").arg(prefix.join("include")).arg("-L").arg(prefix.join("lib")).arg("-lqpq");
        cc.arg(format!("-Wl,-rpath,{}", prefix.join("lib").display()));
        Ok(cc.stderr(if sanitizers.is_empty() { Stdio::inherit() } else { Stdio::null() }).status()?.success())
    };
    if !build(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"])? {
        println!("without AddressSanitizer: the compiler here has none");
        ensure!(build(&[])?, "examples/c/chat.c does not compile");
    }
    Ok(Some(program))
}

/// The example with the static library in it, in a program that has functions of its own with the names of those inside.
fn compile_static(folder: &TempDir) -> Result<PathBuf> {
    let (prefix, program, own) = (installed(), folder.path().join("chat-static"), folder.path().join("own.c"));
    // On macOS they are not hidden.
    let names = ["sqlite3_step", "sqlite3_open_v2", "EVP_EncryptInit_ex", "RAND_bytes"];
    let names = names.iter().filter(|_| !cfg!(target_os = "macos"));
    let functions = names.map(|name| format!("int {name}(void);\nint {name}(void) {{ abort(); }}\n"));
    std::fs::write(&own, format!("#include <stdlib.h>\n{}", functions.collect::<String>()))?;
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Werror"]).arg(&own);
    cc.arg(workspace().join("examples/c/chat.c")).arg("-o").arg(&program).arg("-I").arg(prefix.join("include"));
    cc.arg(prefix.join("lib/libqpq.a"));
    let description = std::fs::read_to_string(prefix.join("lib/pkgconfig/qpq.pc"))?;
    let libraries = description.lines().find_map(|line| line.strip_prefix("Libs.private: ")).context("libraries")?;
    cc.args(libraries.split_whitespace());
    ensure!(cc.status()?.success(), "examples/c/chat.c does not compile with the static library");
    Ok(program)
}

#[test]
fn pkg_config_knows_how_to_build_with_it() -> Result<()> {
    if !is_available("pkg-config") {
        println!("skipped: pkg-config is not installed");
        return Ok(());
    }
    let folder = installed().join("lib/pkgconfig");
    let asked =
        Command::new("pkg-config").env("PKG_CONFIG_PATH", folder).args(["--cflags", "--libs", "qpq"]).output()?;
    let flags = String::from_utf8(asked.stdout)?;
    let prefix = std::fs::canonicalize(installed())?;
    for expected in [format!("-I{}/include", prefix.display()), format!("-L{}/lib", prefix.display()), "-lqpq".into()] {
        ensure!(flags.contains(&expected), "{flags}");
    }
    Ok(())
}

/// A running chat client.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Chat {
    fn start(program: &Path, home: &Path, server: &Server, name: &str, peer: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(home).args([&server.address, name, peer]).env("QPQ_PASSWORD", PASSWORD);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("piped")?);
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| heard.send(line))
        });
        let mut chat = Self { child, stdin, lines };
        chat.hears("ready")?;
        Ok(chat)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.stdin.as_mut().context("piped")?, "{line}")?)
    }

    /// The next line is this one.
    fn hears(&mut self, expected: &str) -> Result<()> {
        let line = self.lines.recv_timeout(PATIENCE).context("nothing was printed")?;
        ensure!(line == expected, "{line:?} instead of {expected:?}");
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// It ends by itself, has nothing to complain about, and has printed nothing more.
    fn ends(mut self) -> Result<()> {
        let status = wait(&mut self.child, PATIENCE)?;
        ensure!(status.success(), "{status}");
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => bail!("one more line: {line}"),
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
