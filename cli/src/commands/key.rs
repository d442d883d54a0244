//! `fluidcloud key RELOCATION [NAME]`: the private half of a key pair that a move created. It can be had once, so that the place
//! where it goes is made before it is asked for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::api::Api;
use crate::args::KeyArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

pub async fn run(config: &Config, told: &KeyArgs) -> Result<(), Fault> {
    let api = Api::new(config)?;
    let Some(path) = &told.output else {
        let taken = api.take_key(told.id, told.name.as_deref()).await?;
        return output::line(taken.private_key.trim_end());
    };
    let mut file = new_file(path)?;
    let taken = match api.take_key(told.id, told.name.as_deref()).await {
        Ok(taken) => taken,
        Err(error) => {
            let _ = std::fs::remove_file(path);
            return Err(error.into());
        }
    };
    if let Err(error) = write(&mut file, &taken.private_key) {
        // It is nowhere else any more.
        output::line(taken.private_key.trim_end())?;
        return Err(Fault::failed(
            format!("cannot write {}: {error}", path.display()),
            "keep what was printed: the key cannot be downloaded again",
        ));
    }
    output::line(format!(
        "the private half of key pair {} is in {}; it cannot be downloaded again",
        taken.name,
        path.display()
    ))
}

/// Only its owner can read it, and nothing is written over.
fn new_file(path: &Path) -> Result<File, Fault> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| {
        Fault::usage(
            format!("cannot make {}: {error}", path.display()),
            "name a file that is not there yet, in a directory that you may write; the key was not taken",
        )
    })
}

fn write(file: &mut File, key: &str) -> std::io::Result<()> {
    file.write_all(key.as_bytes())?;
    file.sync_all()
}
