//! Cases that share a server.

use super::Case;
use anyhow::Result;
use std::pin::Pin;

/// What a case does.
pub(crate) type Body = for<'a> fn(&'a mut Case) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Cases that share a server, one after the other, each beginning with an empty key space.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its name, `watch::past`.
    pub(crate) name: &'static str,
    /// How many members serve.
    pub(crate) members: usize,
    /// Flags beside the harness's own; `{keys}` in them is a folder with [`Keys`](super::Keys).
    pub(crate) flags: Vec<String>,
    /// Whether clients need TLS and a certificate. Only for one member.
    pub(crate) tls: bool,
    /// Whether each case has a server of its own, because it leaves something behind.
    pub(crate) alone: bool,
    /// The cases and their names.
    pub(crate) cases: Vec<(&'static str, Body)>,
}

impl Group {
    /// Gives each case a server of its own.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Starts that many members.
    pub(crate) fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Asks clients for a certificate.
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the servers with one more flag.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }
}

/// `group!("kv::range", [one_key, a_prefix])`: a group of the functions of these names.
macro_rules! group {
    ($name:literal, [$($case:ident),+ $(,)?]) => {{
        let cases: Vec<(&'static str, $crate::suite::Body)> =
            vec![$((stringify!($case), |case| Box::pin($case(case)))),+];
        $crate::suite::Group { name: $name, members: 1, flags: Vec::new(), tls: false, alone: false, cases }
    }};
}
pub(crate) use group;
