//! Ctrl-C and the polite ways to end a process, as flags that waiting code looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

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
