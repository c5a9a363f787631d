//! Main programs of the sandboxes of the tests' gateway. Who attaches to one comes by an ssh and an sshd, which are real.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use sandwatch::driver::openshell::generated::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

/// What a supervisor says to who finds another typing.
const OWNED: &str = "canonical main process already has an input owner; attached read-only";

/// What stands for the main program of a sandbox: a file of what it printed, and one of what was typed into it. Who
/// attaches comes by an sshd.
pub(crate) struct Terminals {
    dir: tempfile::TempDir,
    cut: tokio::sync::Notify,
}

impl Terminals {
    /// `None`, said aloud, where there is no ssh.
    pub(crate) fn new() -> Option<Arc<Self>> {
        let there = |it: &str| Path::new(it).exists();
        if !there("/usr/sbin/sshd") || !there("/usr/bin/ssh") {
            crate::skip::skipped("no ssh and sshd (apt-get install openssh-client openssh-server)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for key in ["host", "key"] {
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at(key))
                .status();
            assert!(made.unwrap().success());
        }
        let shown = dir.path().display();
        let config = format!(
            "HostKey {shown}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {shown}/key.pub\nPermitRootLogin yes\n\
             AcceptEnv OPENSHELL_MAIN_READ_ONLY\nSubsystem openshell-main {shown}/main\n"
        );
        fs::write(at("config"), config).unwrap();
        let main = format!(
            r#"#!/bin/sh
cd {shown}
note() {{ echo "$1 $(stty size 2>/dev/null || echo none)" >> attached; }}
if [ -n "$OPENSHELL_MAIN_READ_ONLY" ]; then
    note watches
elif mkdir owner 2>/dev/null; then
    trap 'rmdir owner' EXIT
    trap 'exit 1' HUP TERM
    stty raw -echo 2>/dev/null
    note types
    trap 'note resized' WINCH
    tail -c +1 -f printed --pid $(cat pid) &
    exec 3<&0
    cat <&3 >> typed &
    while kill -0 $(cat pid) 2>/dev/null; do wait -n 2>/dev/null || sleep 0.1; kill -0 $PPID 2>/dev/null || exit; done
    exit $(cat code)
else
    note watches
fi
tail -c +1 -f printed --pid $(cat pid)
exit $(cat code)
"#
        );
        fs::write(at("main"), main).unwrap();
        fs::set_permissions(at("main"), PermissionsExt::from_mode(0o755)).unwrap();
        // In front of the ssh of the system: it shows the sshd of the tests a key, which a gateway does not ask for, and says
        // what a supervisor says, for an sshd keeps to itself what a subsystem complains of.
        fs::create_dir(at("bin")).unwrap();
        let user = rustix::process::geteuid().as_raw();
        let ssh = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {shown}/told\n\
             case \"$*\" in *READ_ONLY*) ;; *) [ -d {shown}/owner ] && echo '{OWNED}' >&2;; esac\n\
             exec /usr/bin/ssh -o PreferredAuthentications=publickey -i {shown}/key \
             -o IdentitiesOnly=yes -l \"$(id -un {user})\" \"$@\"\n"
        );
        fs::write(at("bin/ssh"), ssh).unwrap();
        fs::set_permissions(at("bin/ssh"), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, text) in
            [("printed", ""), ("typed", ""), ("attached", ""), ("code", "0"), ("pid", "")]
        {
            fs::write(at(name), text).unwrap();
        }
        Some(Arc::new(Self { dir, cut: tokio::sync::Notify::new() }))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap()).into_owned()
    }

    pub(crate) fn print(&self, text: &str) {
        use std::io::Write;
        let file = fs::File::options().append(true).open(self.path("printed"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Hangs up on everybody who is attached.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// A search path on which the ssh of the tests is first.
    pub(crate) fn search_path(&self) -> String {
        format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap())
    }

    /// Begins the main program, which does nothing until it ends.
    pub(crate) fn begin(&self) -> Main {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(self.path("pid"), child.id().to_string()).unwrap();
        Main(child)
    }

    pub(crate) async fn carry(
        self: Arc<Self>,
        mut frames: Streaming<v1::TcpForwardFrame>,
        send: mpsc::Sender<Result<v1::TcpForwardFrame, Status>>,
    ) {
        let config = self.path("config").display().to_string();
        let mut command = if rustix::process::geteuid().is_root() {
            // It wants a directory of the system's, which is made where nobody else sees it.
            let mut command = tokio::process::Command::new("unshare");
            let script = format!(
                "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -f {config}"
            );
            command.args(["-m", "sh", "-c", &script]);
            command
        } else {
            let mut command = tokio::process::Command::new("/usr/sbin/sshd");
            command.args(["-i", "-f", &config]);
            command
        };
        let mut sshd = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut input, mut output) = (sshd.stdin.take().unwrap(), sshd.stdout.take().unwrap());
        let there = async {
            while let Some(Ok(frame)) = frames.next().await {
                if let Some(v1::tcp_forward_frame::Payload::Data(bytes)) = frame.payload
                    && input.write_all(&bytes).await.is_err()
                {
                    break;
                }
            }
        };
        let here = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                let data = bytes::Bytes::copy_from_slice(&buffer[..count]);
                let payload = Some(v1::tcp_forward_frame::Payload::Data(data));
                if send.send(Ok(v1::TcpForwardFrame { payload })).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = here => {}
            () = self.cut.notified() => {}
        }
    }
}

/// The main program; it ends with this.
pub(crate) struct Main(std::process::Child);

impl Drop for Main {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
