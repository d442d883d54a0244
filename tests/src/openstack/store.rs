//! What a user keeps in a project beside servers: images in Glance, and an object in Swift that everybody may read.

use std::path::Path;

use fluidcloud_providers::openstack::api::{Call, Service};
use serde_json::json;

use super::{Cloud, DONE_WITHIN};
use crate::wait;

/// Where an object is read without a login.
#[derive(Clone, Debug)]
pub struct Public {
    /// `HOST:PORT`.
    pub host: String,
    /// Of its container, below the host.
    pub path: String,
}

impl Cloud {
    /// Answers its id.
    pub fn upload_image(&self, name: &str, file: &Path, properties: &[(&str, &str)]) -> String {
        self.upload_image_of("qcow2", name, file, properties)
    }

    pub fn upload_raw_image(&self, name: &str, file: &Path, properties: &[(&str, &str)]) -> String {
        self.upload_image_of("raw", name, file, properties)
    }

    pub fn download_image(&self, name: &str) -> Vec<u8> {
        let id = self.id_of(Service::Image, "images", name);
        let call = Call::get(Service::Image, format!("/images/{id}/file"), "download an image");
        let mut bytes = Vec::new();
        self.runtime.block_on(self.api.download(&call, &mut bytes)).expect("a download");
        bytes
    }

    fn upload_image_of(&self, format: &str, name: &str, file: &Path, properties: &[(&str, &str)]) -> String {
        let mut image =
            json!({"name": name, "disk_format": format, "container_format": "bare", "visibility": "private"});
        for (key, value) in properties {
            image[*key] = json!(value);
        }
        let made = self.call(Call::post(Service::Image, "/images", "make an image").json(image));
        let id = made["id"].as_str().expect("an id").to_owned();
        self.made(Service::Image, format!("/images/{id}"));
        let call = Call::put(Service::Image, format!("/images/{id}/file"), "upload an image");
        let file = file.to_owned();
        let open = move || {
            let file = std::fs::File::open(&file)?;
            Ok(Box::pin(tokio::fs::File::from_std(file)) as fluidcloud_providers::openstack::api::Opened)
        };
        self.runtime.block_on(self.api.upload(&call, &open)).expect("an upload");
        wait::until("the image is there", DONE_WITHIN, || {
            let found = self.call(Call::get(Service::Image, format!("/images/{id}"), "look at an image"));
            (found["status"] == "active").then_some(())
        });
        id
    }

    /// By the swift client: what a user has at hand.
    pub fn public_object(&self, container: &str, object: &str, content: &[u8]) -> Public {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join(object);
        std::fs::write(&file, content).expect("a writable directory");
        let swift = |args: &[&str]| {
            let mut command = std::process::Command::new("openstack");
            command.args(["--os-cloud", &self.name]).args(args);
            crate::cli::Said::of(&mut command).succeeded()
        };
        swift(&["container", "create", "--public", container]);
        let path = file.to_str().expect("a path");
        swift(&["object", "create", container, path, "--name", object]);
        self.made(Service::ObjectStore, format!("/{container}"));
        self.made(Service::ObjectStore, format!("/{container}/{object}"));
        let account: serde_json::Value =
            serde_json::from_str(&swift(&["object", "store", "account", "show", "-f", "json"]))
                .expect("JSON");
        let account = account["Account"].as_str().expect("an account").to_owned();
        let url = std::env::var("FLUIDCLOUD_TEST_SWIFT").unwrap_or_else(|_| "127.0.0.1:8080/v1".to_owned());
        let (host, below) = url.split_once('/').expect("HOST:PORT/v1");
        Public { host: host.to_owned(), path: format!("/{below}/{account}/{container}") }
    }
}
