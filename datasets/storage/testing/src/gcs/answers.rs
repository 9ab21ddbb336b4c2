//! From a request to what is done with the objects, and what is answered.

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE,
    },
};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::{
    BUCKET,
    objects::{Object, Objects, Page},
};
use crate::server::{Body, whole};

pub(super) const IF_GENERATION: &str = "x-goog-if-generation-match";
const GENERATION: &str = "x-goog-generation";

pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn route(
    objects: &mut Objects,
    key: &str,
    query: &Query,
    request: &Request<Bytes>,
) -> Response<Body> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(generation) = header(IF_GENERATION) {
        match generation.parse() {
            Ok(generation) if objects.is(key, generation) => (),
            Ok(_) => return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Err(_) => return error(StatusCode::BAD_REQUEST, "InvalidArgument"),
        }
    }
    match (request.method(), query.get("uploadId")) {
        (&Method::GET, None) if key.is_empty() => list(objects, query),
        (&Method::GET | &Method::HEAD, None) => match objects.get(key) {
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
            Some(object) if header(IF_MATCH.as_str()).is_some_and(|wanted| wanted != object.etag) => {
                error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
            }
            Some(object) => read(object, header(RANGE.as_str()), request.method() == Method::HEAD),
        },
        (&Method::PUT, None) => written(objects.put(key, request.body().clone())),
        (&Method::DELETE, None) => match objects.delete(key) {
            true => status(StatusCode::NO_CONTENT),
            false => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        (&Method::POST, None) if query.get("uploads").is_some() => {
            let upload_id = objects.begin_upload(key);
            xml(&Begun { bucket: BUCKET, key, upload_id })
        }
        (&Method::PUT, Some(id)) => {
            let number = query.get("partNumber").and_then(|number| number.parse().ok());
            match number.and_then(|number| objects.put_part(id, number, request.body().clone())) {
                Some(etag) => with(status(StatusCode::OK), ETAG.as_str(), &etag),
                None => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
            }
        }
        (&Method::POST, Some(id)) => finish(objects, key, id, request.body()),
        (&Method::DELETE, Some(id)) => match objects.abort_upload(id) {
            true => status(StatusCode::NO_CONTENT),
            false => error(StatusCode::NOT_FOUND, "NoSuchUpload"),
        },
        _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    }
}

fn read(object: &Object, range: Option<&str>, head: bool) -> Response<Body> {
    let bytes = object.body.len();
    let asked = range.and_then(|range| {
        let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
        let start: usize = start.parse().ok()?;
        let end: usize = end.parse().map_or(bytes, |end: usize| (end + 1).min(bytes));
        Some((start, end))
    });
    let (start, end) = asked.unwrap_or((0, bytes));
    if asked.is_some() && start >= bytes {
        return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
    }
    let body = if head { Bytes::new() } else { object.body.slice(start..end) };
    let mut answer = written(object);
    *answer.body_mut() = whole(body);
    let modified = DateTimePrinter::new().timestamp_to_rfc9110_string(&object.modified).unwrap();
    answer = with(answer, LAST_MODIFIED.as_str(), &modified);
    answer = with(answer, ACCEPT_RANGES.as_str(), "bytes");
    answer = with(answer, CONTENT_LENGTH.as_str(), &(end - start).to_string());
    if asked.is_some() {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer = with(answer, CONTENT_RANGE.as_str(), &format!("bytes {start}-{}/{bytes}", end - 1));
    }
    answer
}

fn written(object: &Object) -> Response<Body> {
    with(
        with(status(StatusCode::OK), ETAG.as_str(), &object.etag),
        GENERATION,
        &object.generation.to_string(),
    )
}

fn list(objects: &Objects, query: &Query) -> Response<Body> {
    let prefix = query.get("prefix").unwrap_or("");
    let after = query.get("continuation-token").or(query.get("start-after")).unwrap_or("");
    let Page { objects, folders, next } = objects.page(prefix, query.get("delimiter"), after);
    let content = |(key, object): (&str, &Object)| Content {
        key: key.to_owned(),
        generation: object.generation,
        last_modified: object.modified.to_string(),
        e_tag: object.etag.clone(),
        size: object.body.len(),
    };
    xml(&Listing {
        name: BUCKET,
        prefix,
        key_count: objects.len() + folders.len(),
        is_truncated: next.is_some(),
        next_continuation_token: next,
        contents: objects.into_iter().map(content).collect(),
        common_prefixes: folders.into_iter().map(|prefix| CommonPrefix { prefix }).collect(),
    })
}

fn finish(objects: &mut Objects, key: &str, id: &str, body: &Bytes) -> Response<Body> {
    let text = String::from_utf8_lossy(body);
    let Ok(wanted) = quick_xml::de::from_str::<Complete>(&text) else {
        return error(StatusCode::BAD_REQUEST, "MalformedCompleteMultipartUploadRequest");
    };
    let wanted: Vec<_> = wanted.parts.into_iter().map(|part| (part.part_number, part.e_tag)).collect();
    match objects.finish_upload(key, id, &wanted) {
        None => error(StatusCode::BAD_REQUEST, "InvalidPart"),
        Some(object) => {
            let (generation, e_tag) = (object.generation, object.etag.clone());
            with(xml(&Finished { bucket: BUCKET, key, e_tag }), GENERATION, &generation.to_string())
        }
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

fn with(mut answer: Response<Body>, name: &str, value: &str) -> Response<Body> {
    let name: hyper::header::HeaderName = name.parse().unwrap();
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

fn xml(content: &impl Serialize) -> Response<Body> {
    let text = quick_xml::se::to_string(content).unwrap();
    let answer = Response::new(whole(format!("<?xml version='1.0' encoding='UTF-8'?>{text}").into()));
    with(answer, CONTENT_TYPE.as_str(), "application/xml; charset=UTF-8")
}

pub(super) fn json(text: &str) -> Response<Body> {
    with(
        Response::new(whole(Bytes::copy_from_slice(text.as_bytes()))),
        CONTENT_TYPE.as_str(),
        "application/json",
    )
}

pub(super) fn error(status: StatusCode, code: &str) -> Response<Body> {
    let mut answer = xml(&Refusal { code, message: code });
    *answer.status_mut() = status;
    answer
}

#[derive(Serialize)]
#[serde(rename = "Error", rename_all = "PascalCase")]
struct Refusal<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
struct Listing<'a> {
    name: &'a str,
    prefix: &'a str,
    key_count: usize,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
    contents: Vec<Content>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    generation: u64,
    last_modified: String,
    e_tag: String,
    size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

#[derive(Serialize)]
#[serde(rename = "InitiateMultipartUploadResult", rename_all = "PascalCase")]
struct Begun<'a> {
    bucket: &'a str,
    key: &'a str,
    upload_id: String,
}

#[derive(Deserialize)]
struct Complete {
    #[serde(rename = "Part", default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    part_number: u32,
    e_tag: String,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUploadResult", rename_all = "PascalCase")]
struct Finished<'a> {
    bucket: &'a str,
    key: &'a str,
    e_tag: String,
}
