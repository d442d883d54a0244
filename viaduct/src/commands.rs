//! One function per command: opens what the command line names and calls the library.

use crate::args::{
    CopyArgs, DigestArgs, ForgetArgs, IdentityArgs, ReceiveArgs, RelayArgs, SendArgs, ServeArgs, secs,
};

use crate::report::Report;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use viaduct::blocks::Geometry;
use viaduct::{
    Connector, CopyOptions, Digest, Disk, Error, Event, Finish, HostKey, Identity, Listener, LiveSource,
    ReceiveOptions, Relay, RelayOptions, SendOptions, ServeOptions, Source, Spool, SshConnector,
    SshDestination, SshLogin, SshOptions, StdioListener, TlsConnector, TlsListener, Token, journal_dir,
    open_source, open_stdin, root_of,
};

/// How long an older far end may take to notice that its connection is gone.
const OLD_END: Duration = Duration::from_secs(15);

pub fn identity(args: &IdentityArgs) -> Result<(), Error> {
    let identity = Identity::load_or_create(&args.file)?;
    match identity.ssh_public_key().filter(|_| args.ssh) {
        Some(line) => println!("{line}"),
        None => println!("{}", identity.fingerprint()),
    }
    Ok(())
}

pub async fn receive(args: ReceiveArgs, report: &Report) -> Result<(), Error> {
    let mut listener = listener(&args).await?;
    for finish in &args.finish {
        finish.check(&args.to).await?;
    }
    let spool = (args.to == Disk::Stdio).then(|| Spool::new(args.spool.as_deref())).transpose()?;
    let to = spool.as_ref().map_or(args.to, |spool| Disk::File(spool.disk()));
    let finish = args.finish;
    let options = ReceiveOptions {
        journal: args.journal,
        have: args.have,
        epoch: args.epoch,
        idle: secs(args.idle_secs),
        verify_target: args.verify_target,
        overcommit: args.overcommit,
        // A sender that lost its ssh connection comes again before the old far end has noticed.
        patience: if args.stdio { OLD_END } else { Duration::ZERO },
        ..ReceiveOptions::new(to)
    };
    let summary = viaduct::receive(&options, &mut *listener, &|event| report.event(event)).await?;
    if let Some(spool) = spool {
        let poured = tokio::task::spawn_blocking(move || spool.pour()).await;
        poured.unwrap_or(Err(Error::CallerGone))?;
    }
    finish_all(&finish, &options.to, report).await?;
    report.event(Event::Finished(summary));
    Ok(())
}

async fn listener(args: &ReceiveArgs) -> Result<Box<dyn Listener>, Error> {
    let (Some(identity), Some(peer)) = (&args.identity, &args.peer) else {
        return Ok(Box::new(StdioListener::new()?));
    };
    let (identity, peer) = (Identity::load(identity)?, peer.parse()?);
    Ok(match (&args.listen, &args.via) {
        (Some(listen), _) => Box::new(TlsListener::bind(listen, &identity, peer).await?),
        (None, Some(relay)) => {
            let token = token(args.token_file.as_deref())?;
            Box::new(TlsListener::via(relay, &identity, peer, token.as_ref()).await?)
        }
        (None, None) => Box::new(StdioListener::new()?),
    })
}

fn token(path: Option<&Path>) -> Result<Option<Token>, Error> {
    path.map(Token::load).transpose()
}

pub async fn relay(args: &RelayArgs, report: &Report) -> Result<(), Error> {
    let options = RelayOptions {
        token: token(args.token_file.as_deref())?,
        connections: args.max_connections as usize,
    };
    Relay::bind(&args.listen, options).await?.run(&|event| report.event(event)).await
}

pub async fn send(args: SendArgs, report: &Report) -> Result<(), Error> {
    let connector = connector(&args)?;
    let since = args.since.as_ref().map(|root| {
        Digest::parse(root)
            .ok_or_else(|| usage(root, "it is no digest", "take it from the report: blake3:..."))
    });
    let options = SendOptions {
        bitmap: args.bitmap,
        since: since.transpose()?,
        streams: args.streams,
        rate: args.rate,
        block_bytes: args.block_size.map(block_bytes).transpose()?,
        retry: secs(args.retry_secs),
        whole: args.whole,
        ..SendOptions::new(args.from)
    };
    let tell = |event| report.event(event);
    let summary = match &options.from {
        Disk::Stdio => {
            let opened =
                tokio::task::spawn_blocking(move || open_stdin(args.size, args.spool.as_deref())).await;
            let source = opened.unwrap_or(Err(Error::CallerGone))?;
            viaduct::send_from(source.into(), &options, &*connector, &tell).await?
        }
        _ => viaduct::send(&options, &*connector, &tell).await?,
    };
    report.event(Event::Finished(summary));
    Ok(())
}

pub async fn copy(args: CopyArgs, report: &Report) -> Result<(), Error> {
    for finish in &args.finish {
        finish.check(&args.to).await?;
    }
    let login = match args.identity {
        Some(identity) => {
            let host_key = host_key(args.peer.as_ref(), args.known_hosts.as_ref(), "--identity")?;
            Some(SshLogin { identity, host_key })
        }
        None => None,
    };
    let options = CopyOptions {
        login,
        retry: secs(args.retry_secs),
        journal: args.journal,
        block_bytes: args.block_size.map(block_bytes).transpose()?,
        whole: args.whole,
        verify_target: args.verify_target,
        overcommit: args.overcommit,
        size: args.size,
        spool: args.spool,
        ..CopyOptions::new(args.from, args.to)
    };
    let summary = viaduct::copy(&options, &|event| report.event(event)).await?;
    finish_all(&args.finish, &options.to, report).await?;
    report.event(Event::Finished(summary));
    Ok(())
}

async fn finish_all(all: &[Finish], disk: &Disk, report: &Report) -> Result<(), Error> {
    for finish in all {
        report.event(finish.run(disk).await?);
    }
    Ok(())
}

fn connector(args: &SendArgs) -> Result<Box<dyn Connector>, Error> {
    let receiver = |what: &str| {
        let peer = args.peer.as_ref();
        let peer = peer.ok_or_else(|| usage(what, "it needs --peer", "name the receiver's fingerprint"))?;
        Ok::<_, Error>((Identity::load(&args.identity)?, peer.parse()?))
    };
    let to = match (&args.to, &args.via) {
        (_, Some(relay)) => {
            let (identity, peer) = receiver("--via")?;
            let token = token(args.token_file.as_deref())?;
            return Ok(Box::new(TlsConnector::via(relay, &identity, peer, token.as_ref())?));
        }
        (to, None) => to.as_deref().unwrap_or_default(),
    };
    match to.split_once("://") {
        Some(("tls", address)) => {
            let (identity, peer) = receiver(to)?;
            Ok(Box::new(TlsConnector::new(address.trim_end_matches('/'), &identity, peer)?))
        }
        Some(("ssh", _)) => Ok(Box::new(SshConnector::new(ssh_options(args, to)?))),
        _ => Err(usage(to, "it is no destination", "write tls://HOST:PORT or ssh://USER@HOST[:PORT]/PATH")),
    }
}

fn ssh_options(args: &SendArgs, whole: &str) -> Result<SshOptions, Error> {
    let destination: SshDestination = whole.parse()?;
    let to = match &args.remote_to {
        Some(disk) => disk.to_string(),
        None if destination.path.len() > 1 => format!("file:{}", destination.path),
        None => return Err(usage(whole, "it names no target", "add a path, or --remote-to")),
    };
    let host_key = host_key(args.peer.as_ref(), args.known_hosts.as_ref(), whole)?;
    let mut receive_args = vec![format!("--to={to}")];
    receive_args.extend(args.remote_args.iter().cloned());
    Ok(SshOptions {
        destination,
        login: SshLogin { identity: args.identity.clone(), host_key },
        remote_viaduct: args.remote_viaduct.clone(),
        // This very binary, even if its file was replaced meanwhile.
        binary: "/proc/self/exe".into(),
        receive_args,
    })
}

fn host_key(peer: Option<&String>, known_hosts: Option<&PathBuf>, what: &str) -> Result<HostKey, Error> {
    match (peer, known_hosts) {
        (Some(peer), _) if peer.starts_with("SHA256:") => Ok(HostKey::Fingerprint(peer.clone())),
        (Some(peer), _) => Err(usage(
            peer,
            "it is no fingerprint of a host key",
            "take it from `ssh-keygen -lf`: SHA256:...",
        )),
        (None, Some(path)) => Ok(HostKey::KnownHosts(path.clone())),
        (None, None) => Err(usage(what, "it needs --peer", "or --known-hosts")),
    }
}

pub async fn digest(args: &DigestArgs) -> Result<(), Error> {
    let mut source: Arc<dyn Source> = open_source(&args.from).await?.into();
    if args.live {
        source = Arc::new(LiveSource::open(source).await?);
    }
    let size = args.size.unwrap_or(source.size());
    if size > source.size() {
        return Err(usage(&format!("size {size}"), "the disk is smaller", "leave --size away"));
    }
    let geometry = match args.block_size {
        Some(bytes) => Geometry::new(size, block_bytes(bytes)?)?,
        None => Geometry::for_size(size)?,
    };
    let root = root_of(source.clone(), geometry).await?;
    source.check_unchanged().await?;
    println!("{root}");
    Ok(())
}

pub fn tree() -> Result<(), Error> {
    let tree = viaduct::tree(std::io::stdin().lock())?;
    println!("{}", serde_json::to_string(&tree).unwrap_or_default());
    Ok(())
}

pub fn forget(args: &ForgetArgs) -> Result<(), Error> {
    let dir = args.journal.clone().or_else(|| args.to.as_ref().map(journal_dir)).unwrap_or_default();
    viaduct::forget(&dir)
}

fn block_bytes(bytes: u64) -> Result<u32, Error> {
    u32::try_from(bytes)
        .map_err(|_| usage(&format!("block size {bytes}"), "it is too large", "use at most 8M"))
}

fn usage(what: &str, why: &str, remedy: &str) -> Error {
    Error::Usage { what: what.to_owned(), why: why.to_owned(), remedy: remedy.to_owned() }
}

pub async fn serve(args: ServeArgs) -> Result<(), Error> {
    let options =
        ServeOptions { disk: args.disk, read_only: args.read_only, lock: args.lock.zip(args.epoch) };
    viaduct::serve(&options, tokio::io::stdin(), tokio::io::stdout()).await
}
