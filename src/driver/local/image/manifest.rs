//! What an image says of itself, by the words of OCI and of Docker: which layers, in what order, and how programs are
//! to run. Every part is taken for what it says only when its sum is right.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    blobs::{Blobs, Piece, bad},
    digest::Digest,
};
use crate::base::limits::{
    ARGS_BYTES_MAX, ARGS_MAX, ENV_BYTES_MAX, ENV_ENTRIES_MAX, IMAGE_LAYERS_MAX, IMAGE_LINKS_MAX,
    IMAGE_TEXT_BYTES_MAX, PATH_BYTES_MAX,
};

/// How programs of an image are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub env: Vec<(String, String)>,
    /// `USER[:GROUP]`, names or numbers; empty = nobody was named.
    pub user: String,
    pub directory: Option<String>,
    /// What runs when nothing else is named.
    pub command: Vec<String>,
}

/// One layer, and what its sum must be: as it is packed, or as it is unpacked.
pub struct Layer {
    pub piece: Piece,
    pub packed: Option<Digest>,
    pub unpacked: Option<Digest>,
}

/// An image that can be unpacked.
pub struct Image {
    /// Two of the same key have the same files.
    pub key: String,
    pub config: Config,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Described {
    architecture: String,
    os: String,
    config: Option<Run>,
    rootfs: Root,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Run {
    env: Option<Vec<String>>,
    user: String,
    working_dir: String,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Root {
    diff_ids: Vec<String>,
}

/// One line of Docker's own list.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// Reads what an archive or a directory has.
pub fn image(blobs: &Blobs) -> io::Result<Image> {
    // Newer archives of Docker have both, and OCI's names what every layer must be.
    if blobs.has("index.json") && blobs.has("oci-layout") { oci(blobs) } else { docker(blobs) }
}

fn oci(blobs: &Blobs) -> io::Result<Image> {
    let mut found = Vec::new();
    let index: Index = json(&blobs.read("index.json", IMAGE_TEXT_BYTES_MAX)?, "index.json")?;
    let mut others = Vec::new();
    manifests(blobs, index, &mut found, &mut others, 0)?;
    let digest = match found.as_slice() {
        [one] => one,
        [] if others.is_empty() => return Err(bad("it holds no image")),
        [] => return Err(bad(format!("it is for {}, not {}", others.join(", "), here()))),
        _ => return Err(bad("it holds several images: save one by itself")),
    };
    let manifest: Manifest = json(&part(blobs, digest, None)?, "a manifest")?;
    if manifest.layers.len() > IMAGE_LAYERS_MAX {
        return Err(bad("it has too many layers"));
    }
    let config = digest_of(&manifest.config)?;
    let described = described(&part(blobs, &config, Some(manifest.config.size))?)?;
    let layer = |it: &Descriptor| {
        let digest = digest_of(it)?;
        let piece = blobs.open(&place(&digest))?;
        if piece.len() != it.size {
            return Err(bad(format!(
                "a layer has not the size that it should have: {}",
                it.digest
            )));
        }
        Ok(Layer { piece, packed: Some(digest), unpacked: None })
    };
    let layers = manifest.layers.iter().map(layer).collect::<io::Result<_>>()?;
    Ok(Image { key: format!("oci-{}", digest.hex()), config: described, layers })
}

/// The manifests that fit this machine, and the platforms of those that do not.
fn manifests(
    blobs: &Blobs,
    index: Index,
    found: &mut Vec<Digest>,
    others: &mut Vec<String>,
    depth: usize,
) -> io::Result<()> {
    if depth > IMAGE_LINKS_MAX || index.manifests.len() > IMAGE_LAYERS_MAX {
        return Err(bad("it lists too many images"));
    }
    for it in index.manifests {
        let digest = digest_of(&it)?;
        if let Some(platform) = &it.platform {
            let named = format!("{}/{}", platform.os, platform.architecture);
            if named != here() {
                // What else lies beside an image (how it was built, say) is for no platform.
                if platform.os != "unknown" && others.len() < IMAGE_LINKS_MAX {
                    others.push(crate::base::text::shown(&named, 64));
                }
                continue;
            }
        }
        if it.media_type.ends_with("image.index.v1+json")
            || it.media_type.ends_with("manifest.list.v2+json")
        {
            let inner: Index = json(&part(blobs, &digest, Some(it.size))?, "a list of images")?;
            manifests(blobs, inner, found, others, depth + 1)?;
        } else if !found.contains(&digest) && blobs.has(&place(&digest)) {
            found.push(digest);
        }
    }
    Ok(())
}

fn docker(blobs: &Blobs) -> io::Result<Image> {
    let saved: Vec<Saved> =
        json(&blobs.read("manifest.json", IMAGE_TEXT_BYTES_MAX)?, "manifest.json")?;
    let [saved] = saved.as_slice() else {
        return Err(bad(format!("it holds {} images: save one by itself", saved.len())));
    };
    let text = blobs.read(&saved.config, IMAGE_TEXT_BYTES_MAX)?;
    let digest = Digest::of(&text);
    let named = saved.config.rsplit('/').next().unwrap_or_default();
    let named = Digest::from_hex(named.trim_end_matches(".json"));
    if named.is_some_and(|it| it != digest) {
        return Err(bad("the description of the image was changed: its sum is wrong"));
    }
    let sums: Described = json(&text, "the description of the image")?;
    let sums = sums.rootfs.diff_ids;
    if sums.len() != saved.layers.len() || sums.len() > IMAGE_LAYERS_MAX {
        return Err(bad("it does not say what its layers are"));
    }
    let layer = |(name, sum): (&String, &String)| {
        let unpacked = Digest::parse(sum).ok_or_else(|| unknown_sum(sum))?;
        let piece = blobs.open(name)?;
        Ok(Layer { piece, packed: None, unpacked: Some(unpacked) })
    };
    let layers = saved.layers.iter().zip(&sums).map(layer).collect::<io::Result<_>>()?;
    Ok(Image { key: format!("docker-{}", digest.hex()), config: described(&text)?, layers })
}

/// What runs in it, checked; and that it runs here.
fn described(text: &[u8]) -> io::Result<Config> {
    let Described { architecture, os, config, .. } = json(text, "the description of the image")?;
    let platform = format!("{os}/{architecture}");
    if !(os.is_empty() || architecture.is_empty() || platform == here()) {
        let platform = crate::base::text::shown(&platform, 64);
        return Err(bad(format!("it is for {platform}, not {}", here())));
    }
    let run = config.unwrap_or_default();
    let command = [run.entrypoint, run.cmd].into_iter().flatten().flatten().collect::<Vec<_>>();
    let env = run.env.unwrap_or_default();
    let bytes = |it: &[String]| it.iter().map(|it| it.len() + 1).sum::<usize>();
    let zero = |it: &String| it.contains('\0');
    let others = [&run.user, &run.working_dir];
    if command.len() > ARGS_MAX
        || bytes(&command) > ARGS_BYTES_MAX
        || env.len() > ENV_ENTRIES_MAX
        || bytes(&env) > ENV_BYTES_MAX
        || others.iter().any(|it| it.len() >= PATH_BYTES_MAX)
        || command.iter().chain(&env).chain(others).any(zero)
    {
        return Err(bad("its command, variables, user or directory are none that can be used"));
    }
    let pair = |it: &String| it.split_once('=').map(|(key, value)| (key.into(), value.into()));
    Ok(Config {
        env: env.iter().filter_map(pair).filter(|(key, _): &(String, _)| !key.is_empty()).collect(),
        user: run.user,
        directory: Some(run.working_dir).filter(|it| it.starts_with('/')),
        command,
    })
}

/// A small part, which must be what it is named by.
fn part(blobs: &Blobs, digest: &Digest, size: Option<u64>) -> io::Result<Vec<u8>> {
    let bytes = blobs.read(&place(digest), IMAGE_TEXT_BYTES_MAX)?;
    let right = size.is_none_or(|it| it == bytes.len() as u64) && Digest::of(&bytes) == *digest;
    if right { Ok(bytes) } else { Err(wrong(digest)) }
}

pub fn wrong(digest: &Digest) -> io::Error {
    bad(format!("a part was changed, its sum is not sha256:{}", digest.hex()))
}

fn unknown_sum(text: &str) -> io::Error {
    bad(format!("a sum of an unknown kind: {}", crate::base::text::shown(text, 96)))
}

fn digest_of(descriptor: &Descriptor) -> io::Result<Digest> {
    Digest::parse(&descriptor.digest).ok_or_else(|| unknown_sum(&descriptor.digest))
}

fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json<T: DeserializeOwned>(text: &[u8], what: &str) -> io::Result<T> {
    serde_json::from_slice(text).map_err(|error| bad(format!("{what} is damaged: {error}")))
}

/// This machine, as images name it.
fn here() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    format!("linux/{architecture}")
}
