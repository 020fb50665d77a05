//! Ctrl-C and the polite ways to end a process, as flags that waiting code looks at.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

/// Whether somebody wants this to end. Without [`Self::listen`] signals do what they always do.
#[derive(Clone, Default)]
pub struct Signals {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    /// Ends the line editor, which takes the flag back.
    editor: Arc<AtomicBool>,
}

impl Signals {
    /// From now on signals only set flags. A second Ctrl-C that nobody has answered yet ends the process.
    pub fn listen(&self) {
        // Registering fails for signals that must not be caught, and these are none.
        let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&self.interrupt));
        let _ = signal_hook::flag::register(SIGINT, Arc::clone(&self.interrupt));
        for signal in [SIGTERM, SIGHUP] {
            let _ = signal_hook::flag::register(signal, Arc::clone(&self.terminate));
            let _ = signal_hook::flag::register(signal, Arc::clone(&self.editor));
        }
        if let Ok(mut hangups) = iterator::Signals::new([SIGHUP]) {
            std::thread::spawn(move || hangups.forever().next().map(|_| leave_terminal()));
        }
    }

    /// Whether to stop altogether.
    pub fn ended(&self) -> bool {
        self.interrupt.load(Ordering::SeqCst) || self.terminate.load(Ordering::SeqCst)
    }

    /// Takes back a Ctrl-C that was meant for one wait.
    pub fn forget_interrupt(&self) {
        self.interrupt.store(false, Ordering::SeqCst);
    }

    pub fn editor_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.editor)
    }
}

/// The terminal is gone. Whoever reads from it reads nothing, at once and for ever, and the line editor would never look at
/// anything else again; so standard input becomes something that is silent.
fn leave_terminal() {
    let Ok((silent, other)) = UnixStream::pair() else { return };
    if silent.set_nonblocking(true).is_ok() && rustix::stdio::dup2_stdin(&silent).is_ok() {
        // Closed, it would have an end.
        std::mem::forget(other);
    }
}
