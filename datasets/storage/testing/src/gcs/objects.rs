use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use md5::{Digest, Md5};

/// Small pages, so that every listing of a test is a paged one.
const PAGE: usize = 20;

/// One object. Its generation is another after each write; its ETag is not, where the bytes are the same.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) body: Bytes,
    pub(super) etag: String,
    pub(super) generation: u64,
    pub(super) modified: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, BTreeMap<u32, (String, Bytes)>>,
    generation: u64,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) objects: Vec<(&'a str, &'a Object)>,
    pub(super) folders: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Whether a precondition on the generation holds; 0 stands for an object that isn't there.
    pub(super) fn is(&self, key: &str, generation: u64) -> bool {
        self.get(key).map_or(0, |object| object.generation) == generation
    }

    pub(super) fn put(&mut self, key: &str, body: Bytes) -> &Object {
        let etag = md5(&body);
        self.insert(key, body, etag)
    }

    fn insert(&mut self, key: &str, body: Bytes, etag: String) -> &Object {
        self.generation += 1;
        let object = Object { body, etag, generation: self.generation, modified: Timestamp::now() };
        self.objects.entry(key.to_owned()).insert_entry(object).into_mut()
    }

    pub(super) fn delete(&mut self, key: &str) -> bool {
        self.objects.remove(key).is_some()
    }

    /// In order of names, from the first after `after`; with a delimiter, names below one folder count as that folder.
    pub(super) fn page(&self, prefix: &str, delimiter: Option<&str>, after: &str) -> Page<'_> {
        let mut page = Page::default();
        let mut last = after.to_owned();
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let folder = delimiter.and_then(|delimiter| {
                let end = key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
                Some(key[..end].to_owned())
            });
            let name = folder.as_deref().unwrap_or(key);
            if name <= last.as_str() {
                continue;
            }
            if page.objects.len() + page.folders.len() == PAGE {
                page.next = Some(last);
                break;
            }
            name.clone_into(&mut last);
            match folder {
                Some(folder) => page.folders.push(folder),
                None => page.objects.push((key, object)),
            }
        }
        page
    }

    pub(super) fn begin_upload(&mut self, key: &str) -> String {
        self.generation += 1;
        let id = format!("upload-{}-{key}", self.generation);
        self.uploads.insert(id.clone(), BTreeMap::new());
        id
    }

    /// The ETag of the part; none if there is no such upload.
    pub(super) fn put_part(&mut self, id: &str, number: u32, body: Bytes) -> Option<String> {
        let etag = md5(&body);
        self.uploads.get_mut(id)?.insert(number, (etag.clone(), body));
        Some(etag)
    }

    /// None unless the upload is there and has exactly these parts.
    pub(super) fn finish_upload(&mut self, key: &str, id: &str, wanted: &[(u32, String)]) -> Option<&Object> {
        let there = self.uploads.get(id)?;
        let mut body = BytesMut::new();
        for (number, etag) in wanted {
            let (held, part) = there.get(number)?;
            (held == etag).then(|| body.extend_from_slice(part))?;
        }
        (wanted.len() == there.len() && !wanted.is_empty()).then(|| self.uploads.remove(id))?;
        // Of an object in parts it is no hash of the content.
        let etag = format!("\"-parts-{}\"", self.generation + 1);
        Some(self.insert(key, body.freeze(), etag))
    }

    pub(super) fn abort_upload(&mut self, id: &str) -> bool {
        self.uploads.remove(id).is_some()
    }
}

fn md5(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(body)))
}
