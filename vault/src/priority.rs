//! Compression comes after everything else on the machine: what etcd needs of its processors it gets first.

use std::cell::Cell;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The nice value of threads that compress, of -20 to 19.
const NICE: i32 = 10;

thread_local! {
    static YIELDS: Cell<bool> = const { Cell::new(false) };
}

/// Has the thread that calls it come after others from now on. Linux keeps the nice value of each thread by itself
/// (setpriority(2)). For threads of the blocking pool, whose work nobody waits for at once; never for those of the runtime.
pub fn come_after_others() {
    if YIELDS.replace(true) {
        return;
    }
    // It is a kindness: where it is refused the work is done all the same.
    if let Err(error) = setpriority_process(Some(gettid()), NICE) {
        tracing::debug!(%error, "compression has the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn one_thread_comes_after_others_and_the_rest_do_not() {
        let here = getpriority_process(Some(gettid())).unwrap();
        let there = std::thread::spawn(|| {
            come_after_others();
            getpriority_process(Some(gettid())).unwrap()
        });
        assert_eq!(there.join().unwrap(), NICE.max(here));
        assert_eq!(getpriority_process(Some(gettid())).unwrap(), here);
    }
}
