//! An API server in memory, as far as making and removing a job's objects goes. For tests.

use super::Cluster;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// Objects by path, and what takes turns between requests.
#[derive(Debug, Default)]
pub(super) struct Fake {
    objects: Mutex<(BTreeMap<String, Value>, u64)>,
    /// A kind of which it takes none.
    refused: Mutex<Option<String>>,
    /// What it makes of rules that bring agents back, where it doesn't know them.
    old: Mutex<Option<Old>>,
    /// A kind of which it takes one without a word.
    silent: Mutex<Option<String>>,
    turns: Mutex<u64>,
}

/// How a cluster doesn't know rules that bring agents back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// As before 1.34: the field isn't there.
    Unknown,
    /// As a validation that knows no policy of a container's own.
    Forbidden,
    /// As 1.34: they are dropped without a word.
    Dropped,
}

impl Fake {
    /// One whose requests wait for each other in an order that follows from `seed`.
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { turns: Mutex::new(seed), ..Self::default() })
    }

    pub(super) fn cluster(self: &Arc<Self>) -> Cluster {
        let fake = Arc::clone(self);
        let serve = tower::service_fn(move |request: Request<Body>| {
            let fake = Arc::clone(&fake);
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Cluster::fake(Client::new(serve, "n"))
    }

    /// From now on it takes no objects of this kind, as in `services`.
    pub(super) fn refuse(&self, kind: &str) {
        *self.refused.lock().unwrap() = Some(kind.to_owned());
    }

    /// From now on it doesn't know rules that bring agents back.
    pub(super) fn grow_old(&self, old: Old) {
        *self.old.lock().unwrap() = Some(old);
    }

    /// The next object of this kind is made, and whoever asked for it hears of a server that is away.
    pub(super) fn lose_answer(&self, kind: &str) {
        *self.silent.lock().unwrap() = Some(kind.to_owned());
    }

    /// The objects of one kind, as in `configmaps`.
    pub(super) fn all(&self, kind: &str) -> Vec<Value> {
        let objects = &self.objects.lock().unwrap().0;
        let of_kind = |path: &&String| path.split('/').rev().nth(1) == Some(kind);
        objects.iter().filter(|(path, _)| of_kind(path)).map(|(_, object)| object.clone()).collect()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let turns = {
            let mut turns = self.turns.lock().unwrap();
            *turns = turns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *turns >> 61
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let (mut status, mut body) = match self.taken(body) {
            Ok(body) => self.change(&method, &path, body),
            Err(why) => {
                let (status, mut body) = refusal(StatusCode::UNPROCESSABLE_ENTITY);
                body["message"] = why.into();
                (status, body)
            }
        };
        let is_lost = |kind: &mut String| method == Method::PATCH && path.contains(&format!("/{kind}/"));
        if self.silent.lock().unwrap().take_if(is_lost).is_some() {
            (status, body) = refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        let answer = Response::builder().status(status).body(Body::from(serde_json::to_vec(&body).unwrap()));
        answer.unwrap()
    }

    fn taken(&self, mut body: Value) -> Result<Value, &'static str> {
        let pointers = ["/spec/template", "/spec/jobTemplate/spec/template"];
        let old = *self.old.lock().unwrap();
        for pointer in pointers.map(|template| format!("{template}/spec/containers/0")) {
            let Some(agent) = body.pointer_mut(&pointer).and_then(Value::as_object_mut) else { continue };
            match old.filter(|_| agent.contains_key("restartPolicy")) {
                None => {}
                Some(Old::Dropped) => ["restartPolicy", "restartPolicyRules"].iter().for_each(|field| {
                    agent.remove(*field);
                }),
                Some(Old::Unknown) => {
                    return Err(
                        "failed to create typed patch object (n/a; batch/v1, Kind=Job): .spec.template.spec.containers[name=\"agent\"].restartPolicyRules: field not declared in schema",
                    );
                }
                Some(Old::Forbidden) => {
                    return Err(
                        "Job.batch \"a\" is invalid: spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
                    );
                }
            }
        }
        Ok(body)
    }

    fn change(&self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        let (objects, version) = &mut *self.objects.lock().unwrap();
        let is_refused =
            self.refused.lock().unwrap().as_ref().is_some_and(|kind| path.contains(&format!("/{kind}/")));
        match (method, objects.get(path)) {
            (&Method::PATCH, _) if is_refused => refusal(StatusCode::FORBIDDEN),
            (&Method::GET, None) | (&Method::DELETE, None) => refusal(StatusCode::NOT_FOUND),
            (&Method::GET, Some(object)) => (StatusCode::OK, object.clone()),
            (&Method::DELETE, Some(object)) => {
                let wanted = &body["preconditions"];
                let fits = |name: &str| wanted[name].is_null() || wanted[name] == object["metadata"][name];
                if !fits("uid") || !fits("resourceVersion") {
                    return refusal(StatusCode::CONFLICT);
                }
                let gone = objects.remove(path).unwrap_or_default();
                // What it owns goes with it.
                let uid = &gone["metadata"]["uid"];
                let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"] == *uid;
                objects.retain(|_, object| !owned(object));
                (StatusCode::OK, gone)
            }
            (&Method::PATCH, there) => {
                let mut object = body;
                let is_new = there.is_none();
                if let Some(there) = there {
                    // What a Job's pods are never changes.
                    if path.contains("/jobs/") && there["spec"] != object["spec"] {
                        return refusal(StatusCode::UNPROCESSABLE_ENTITY);
                    }
                    object["metadata"]["uid"] = there["metadata"]["uid"].clone();
                    object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
                    if object == *there {
                        return (StatusCode::OK, object);
                    }
                }
                *version += 1;
                if is_new {
                    object["metadata"]["uid"] = json!(format!("uid-{version}"));
                }
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                objects.insert(path.to_owned(), object.clone());
                (if is_new { StatusCode::CREATED } else { StatusCode::OK }, object)
            }
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

fn refusal(code: StatusCode) -> (StatusCode, Value) {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        _ => "",
    };
    let status =
        json!({ "status": "Failure", "code": code.as_u16(), "message": code.to_string(), "reason": reason });
    (code, status)
}
