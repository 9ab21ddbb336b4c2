//! Why a run on a cluster doesn't get on, and what helps.

use std::fmt;

/// Why a run doesn't get on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// Kueue holds the Job back.
    Queue { queue: String, message: String },
    /// The Job is suspended.
    Suspended,
    /// The cluster doesn't let the Job make pods: quota, Pod Security, a webhook.
    Refused { message: String },
    /// No machine takes a pod.
    Unschedulable { pods: u32, of: u32, message: String },
    /// The image is on its way.
    Pulling { image: String },
    /// The image can't be had.
    Image { image: String, message: String },
    /// A container can't be made: a Secret or ConfigMap is missing, a program isn't there.
    Container { pod: String, message: String },
    /// A volume can't be mounted.
    Volume { pod: String, message: String },
    /// A pod ended and its successor is to come.
    Replacement { node: u32, how: String },
    /// An agent died and is to come back in its pod; the kubelet may wait for so long after a death that wasn't the first.
    Return { node: u32, pod: String, how: String, back_off: Option<String> },
    /// A pod doesn't end: its machine is likely gone.
    Terminating { pod: String, machine: String },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue { queue, message } if message.is_empty() => {
                write!(f, "Kueue: queue {queue} holds the job back")
            }
            Self::Queue { queue, message } => write!(f, "Kueue: queue {queue} holds the job back: {message}"),
            Self::Suspended => f.write_str("the job is suspended"),
            Self::Refused { message } => write!(f, "the cluster refuses its pods: {message}"),
            Self::Unschedulable { pods, of, message } => {
                write!(f, "{pods} of {of} pods unschedulable: {message}")
            }
            Self::Pulling { image } => write!(f, "pulling {image}"),
            Self::Image { image, message } => write!(f, "image {image} can't be pulled: {message}"),
            Self::Container { pod, message } => write!(f, "pod {pod} can't start: {message}"),
            Self::Volume { pod, message } => write!(f, "pod {pod} can't mount a volume: {message}"),
            Self::Replacement { node, how } => {
                write!(f, "for the next pod of node {node}, whose last one {how}")
            }
            Self::Return { node, how, back_off, .. } => {
                write!(f, "for the agent of node {node}, which {how}, to come back in its pod")?;
                let Some(back_off) = back_off else { return Ok(()) };
                write!(
                    f,
                    ": after deaths one upon another the kubelet waits, now {back_off} (CrashLoopBackOff)"
                )
            }
            Self::Terminating { pod, machine } => {
                write!(f, "pod {pod} is stuck terminating; node {machine} is not responding")
            }
        }
    }
}

/// What a wait is about, however it is worded at the moment.
pub(crate) type Subject = (&'static str, String);

impl Wait {
    /// What it is about. Two waits of one subject are one wait, whose reason has become clearer.
    pub(crate) fn subject(&self) -> Subject {
        let (kind, name) = match self {
            Self::Queue { queue, .. } => ("queue", queue.as_str()),
            Self::Suspended => ("suspended", ""),
            Self::Refused { .. } => ("refused", ""),
            Self::Unschedulable { .. } => ("unschedulable", ""),
            Self::Pulling { image } | Self::Image { image, .. } => ("image", image.as_str()),
            Self::Container { pod, .. } => ("container", pod.as_str()),
            Self::Volume { pod, .. } => ("volume", pod.as_str()),
            Self::Replacement { node, .. } => return ("replacement", node.to_string()),
            Self::Return { node, .. } => return ("return", node.to_string()),
            Self::Terminating { pod, .. } => ("terminating", pod.as_str()),
        };
        (kind, name.to_owned())
    }

    /// What helps, for a job called `name`.
    pub(crate) fn fix(&self, name: &str) -> Option<String> {
        Some(match self {
            Self::Queue { .. } => "it starts when the queue has room".to_owned(),
            Self::Suspended => format!("lockstep resume {name}"),
            Self::Refused { message } if message.contains("exceeded quota") => {
                "ask for less, end another run, or ask for a larger ResourceQuota in the namespace".to_owned()
            }
            Self::Refused { message } if message.contains("violates PodSecurity") => {
                "remove what it names from kubernetes.podOverlay, or use another namespace".to_owned()
            }
            Self::Refused { .. } => "the message names who refused them".to_owned(),
            Self::Unschedulable { .. } => {
                "free the missing resource, ask for less, or add a toleration for the taint".to_owned()
            }
            Self::Pulling { .. } => return None,
            Self::Image { .. } => "check kubernetes.image and kubernetes.pullSecrets".to_owned(),
            Self::Container { message, .. } if message.contains("secret") => {
                "create the Secret that kubernetes.secrets names, in the run's namespace".to_owned()
            }
            Self::Container { .. } => "check that the image holds lockstep-agent in its PATH".to_owned(),
            Self::Volume { .. } => "check that what kubernetes.volumes names exists".to_owned(),
            Self::Replacement { how, .. } | Self::Return { how, .. } if how.contains("out of memory") => {
                "raise kubernetes.resources.memory".to_owned()
            }
            Self::Return { back_off: Some(_), .. } => {
                format!("lockstep logs {name} --previous shows what it said before")
            }
            // As after a liveness probe that failed: the kubelet has taken the pod's network down, and leaves it at that.
            Self::Return { pod, .. } => {
                format!("if it lasts: kubectl delete pod {pod}, and the Job makes another")
            }
            Self::Replacement { .. } => return None,
            Self::Terminating { machine, .. } => {
                format!("if the machine is gone for good: kubectl delete node {machine}")
            }
        })
    }
}
