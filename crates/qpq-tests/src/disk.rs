//! Small file systems of our own, to fill, to break, and to cut the power of. They need root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Why file systems cannot be mounted here; none when they can.
pub fn unavailable() -> Option<&'static str> {
    static REASON: OnceLock<Option<&'static str>> = OnceLock::new();
    *REASON.get_or_init(|| {
        if !run("id", &["-u"]).is_ok_and(|id| id.trim() == "0") {
            return Some("mounting file systems needs root");
        }
        match Disk::memory(1).and_then(|_| Disk::ext4("")) {
            Ok(_) => None,
            Err(_) => Some("this machine does not let root mount tmpfs and loop devices"),
        }
    })
}

/// A file system with a mount point of its own, unmounted when dropped.
pub struct Disk {
    folder: TempDir,
    kind: Kind,
}

enum Kind {
    Memory { mib: u32 },
    Image { options: &'static str },
}

impl Disk {
    /// One in memory that holds this much.
    pub fn memory(mib: u32) -> Result<Self> {
        Self::new(Kind::Memory { mib })
    }

    /// One of 64 MiB with a journal, in a file, mounted with these options.
    pub fn ext4(options: &'static str) -> Result<Self> {
        Self::new(Kind::Image { options })
    }

    fn new(kind: Kind) -> Result<Self> {
        let disk = Self { folder: tempfile::tempdir()?, kind };
        fs::create_dir(disk.path())?;
        if let Kind::Image { .. } = disk.kind {
            File::create(disk.image())?.set_len(IMAGE)?;
            run("mkfs.ext4", &["-q", "-F", text(&disk.image())?])?;
        }
        disk.mount()?;
        Ok(disk)
    }

    /// The mount point.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// What can still be written, in bytes.
    pub fn free(&self) -> Result<u64> {
        let listed = run("df", &["--output=avail", "-B1", text(&self.path())?])?;
        Ok(listed.lines().nth(1).context("df prints a number")?.trim().parse()?)
    }

    /// Takes all the space that is left, until the result is dropped.
    pub fn fill(&self) -> Result<Filler> {
        let filler = Filler(self.path().join("filler"));
        let mut file = File::create(&filler.0)?;
        // In small pieces at last, so that nothing is left.
        for size in [1 << 20, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
        Ok(filler)
    }

    /// From now on nothing can be written; fails while a file is open for writing.
    pub fn make_read_only(&self) -> Result<()> {
        run("mount", &["-o", "remount,ro", text(&self.path())?]).map(drop)
    }

    /// The opposite.
    pub fn make_writable(&self) -> Result<()> {
        run("mount", &["-o", "remount,rw", text(&self.path())?]).map(drop)
    }

    /// What the kernel does when it finds the file system damaged; with `errors=remount-ro` it is read-only from then on.
    pub fn find_damage(&self) -> Result<()> {
        let device = run("findmnt", &["-n", "-o", "SOURCE", text(&self.path())?])?;
        let device = Path::new(device.trim()).file_name().context("a device")?.to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(&trigger, "1").with_context(|| trigger.display().to_string())
    }

    /// Everything that was not synced is gone, and nothing can be written any more. The programs that use it have to be
    /// ended; then [`Self::power_on`].
    pub fn cut_power(&self) -> Result<()> {
        // The shutdown ioctl of ext4 and xfs, without writing the journal first.
        let call = "import fcntl, os, struct, sys; \
                    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run("python3", &["-c", call, text(&self.path())?]).map(drop)
    }

    /// Mounts it again, which replays the journal.
    pub fn power_on(&self) -> Result<()> {
        run("umount", &[text(&self.path())?])?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        let (point, image) = (self.path(), self.image());
        match &self.kind {
            Kind::Memory { mib } => {
                run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", text(&point)?]).map(drop)
            }
            Kind::Image { options } => {
                let options = format!("loop,{options}");
                let options = options.trim_end_matches(',');
                run("mount", &["-t", "ext4", "-o", options, text(&image)?, text(&point)?]).map(drop)
            }
        }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that is just ending may still have a file open.
        if let Ok(point) = text(&self.path()) {
            let _ = run("umount", &["-l", point]);
        }
    }
}

/// Takes space.
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().context(program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

const IMAGE: u64 = 64 << 20;
