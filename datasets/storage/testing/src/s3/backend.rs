use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

/// The one bucket that is there.
pub(super) const BUCKET: &str = "lockstep";
/// Small pages, so that every listing of a test is a paged one.
const PAGE: usize = 20;

#[derive(Debug, Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    modified: SystemTime,
}

#[derive(Debug)]
struct Upload {
    key: String,
    parts: BTreeMap<i32, Stored>,
}

/// One bucket in memory. A body is complete and verified before the lock is taken, and the lock covers check and insert:
/// conditional puts of one key are decided one after another.
#[derive(Debug, Default)]
pub(super) struct Backend {
    objects: Mutex<BTreeMap<String, Stored>>,
    uploads: Mutex<HashMap<String, Upload>>,
}

/// What must hold of a key for a put to be done.
enum Condition<'a> {
    None,
    Absent,
    Is(&'a str),
}

impl<'a> Condition<'a> {
    fn of(if_match: Option<&'a ETagCondition>, if_none_match: Option<&'a ETagCondition>) -> Self {
        match (if_match, if_none_match) {
            (Some(ETagCondition::ETag(etag)), _) => Self::Is(etag.value()),
            (_, Some(ETagCondition::Any)) => Self::Absent,
            _ => Self::None,
        }
    }
}

impl Stored {
    fn new(body: Bytes) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self { etag: format!("{:016x}", hasher.finish()), body, modified: SystemTime::now() }
    }

    fn e_tag(&self) -> Option<ETag> {
        Some(ETag::Strong(self.etag.clone()))
    }
}

async fn collect(body: Option<StreamingBlob>, expected: Option<i64>) -> S3Result<Bytes> {
    let mut all = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            // Here the signature's hash of the body is checked too.
            all.extend_from_slice(
                &piece.map_err(|error| s3_error!(IncompleteBody, "body not accepted: {error}"))?,
            );
        }
    }
    if expected.is_some_and(|bytes| bytes != all.len() as i64) {
        return Err(s3_error!(IncompleteBody));
    }
    Ok(all.freeze())
}

impl Backend {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        known(bucket)?;
        self.objects.lock().unwrap().get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn insert(&self, key: String, stored: Stored, condition: Condition<'_>) -> S3Result<()> {
        let mut objects = self.objects.lock().unwrap();
        let there = objects.get(&key).map(|there| there.etag.as_str());
        match condition {
            Condition::None => (),
            Condition::Absent if there.is_none() => (),
            Condition::Is(etag) if there == Some(etag) => (),
            Condition::Absent | Condition::Is(_) => return Err(s3_error!(PreconditionFailed)),
        }
        objects.insert(key, stored);
        Ok(())
    }
}

fn known(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, content_length, if_match, if_none_match, .. } = req.input;
        known(&bucket)?;
        let stored = Stored::new(collect(body, content_length).await?);
        let e_tag = stored.e_tag();
        self.insert(key, stored, Condition::of(if_match.as_ref(), if_none_match.as_ref()))?;
        Ok(S3Response::new(PutObjectOutput { e_tag, ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let stored = self.find(&req.input.bucket, &req.input.key)?;
        if let Some(ETagCondition::ETag(wanted)) = &req.input.if_match
            && wanted.value() != stored.etag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let total = stored.body.len() as u64;
        let range = req.input.range.map(|range| range.check(total)).transpose()?;
        let content_range = range.as_ref().map(|r| format!("bytes {}-{}/{total}", r.start, r.end - 1));
        let body = match range {
            Some(r) => stored.body.slice(r.start as usize..r.end as usize),
            None => stored.body.clone(),
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            content_range,
            e_tag: stored.e_tag(),
            last_modified: Some(stored.modified.into()),
            body: Some(StreamingBlob::wrap(futures::stream::iter([Ok::<_, std::io::Error>(body)]))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(stored.body.len() as i64),
            e_tag: stored.e_tag(),
            last_modified: Some(stored.modified.into()),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        known(&req.input.bucket)?;
        self.objects.lock().unwrap().remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        known(&req.input.bucket)?;
        let mut objects = self.objects.lock().unwrap();
        let gone = |one: ObjectIdentifier| {
            objects.remove(&one.key);
            DeletedObject { key: Some(one.key), ..Default::default() }
        };
        let deleted = Some(req.input.delete.objects.into_iter().map(gone).collect());
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, continuation_token, start_after, delimiter, .. } = req.input;
        known(&bucket)?;
        let prefix = prefix.unwrap_or_default();
        let after = continuation_token.or(start_after).unwrap_or_default();
        let objects = self.objects.lock().unwrap();
        // What is left of a key when all below the same folder counts as one.
        let rolled = |key: &str| match &delimiter {
            Some(delimiter) => {
                let end = key[prefix.len()..].find(delimiter.as_str())? + prefix.len() + delimiter.len();
                Some(key[..end].to_owned())
            }
            None => None,
        };
        let mut page: BTreeMap<String, Option<&Stored>> = BTreeMap::new();
        for (key, stored) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let (name, stored) = rolled(key).map_or((key.clone(), Some(stored)), |folder| (folder, None));
            if name > after && page.len() <= PAGE {
                page.insert(name, stored);
            }
        }
        let more = page.len() > PAGE;
        if more {
            page.pop_last();
        }
        let next = page.last_key_value().map(|(name, _)| name.clone()).filter(|_| more);
        let num_found = page.len() as i32;
        let (mut contents, mut folders) = (Vec::new(), Vec::new());
        for (name, stored) in page {
            match stored {
                Some(stored) => contents.push(Object {
                    key: Some(name),
                    size: Some(stored.body.len() as i64),
                    e_tag: stored.e_tag(),
                    last_modified: Some(stored.modified.into()),
                    ..Default::default()
                }),
                None => folders.push(CommonPrefix { prefix: Some(name) }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix: Some(prefix),
            delimiter,
            key_count: Some(num_found),
            max_keys: Some(PAGE as i32),
            is_truncated: Some(more),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(folders),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = req.input;
        known(&bucket)?;
        let mut uploads = self.uploads.lock().unwrap();
        let id = format!("upload-{}", uploads.len());
        uploads.insert(id.clone(), Upload { key: key.clone(), parts: BTreeMap::new() });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { body, content_length, upload_id, part_number, .. } = req.input;
        let stored = Stored::new(collect(body, content_length).await?);
        let e_tag = stored.e_tag();
        let mut uploads = self.uploads.lock().unwrap();
        let upload = uploads.get_mut(&upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(part_number, stored);
        Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = req.input;
        let uploads = self.uploads.lock().unwrap();
        let upload = uploads.get(&upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        if upload.key != key {
            return Err(s3_error!(NoSuchUpload));
        }
        let mut body = BytesMut::new();
        for named in multipart_upload.and_then(|list| list.parts).unwrap_or_default() {
            let part = named.part_number.and_then(|number| upload.parts.get(&number));
            let part = part.filter(|part| part.e_tag() == named.e_tag);
            body.extend_from_slice(&part.ok_or_else(|| s3_error!(InvalidPart))?.body);
        }
        let stored = Stored::new(body.freeze());
        let e_tag = stored.e_tag();
        self.insert(key.clone(), stored, Condition::None)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.uploads.lock().unwrap().remove(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
