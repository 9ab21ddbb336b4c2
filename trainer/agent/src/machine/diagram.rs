//! The diagram of states in ARCHITECTURE.md and what machines do are the same.

use super::Time;
use super::campaign::{plan, run};
use super::sim::{Fault, Sim};
use std::collections::BTreeSet;
use std::time::Duration;

type Edges = BTreeSet<(String, String)>;

/// The lines `From -> To, To` of the diagram below this heading.
fn drawn(of: &str) -> Edges {
    let text = include_str!("../../../../ARCHITECTURE.md");
    let (_, after) = text.split_once(&format!("\n {of}\n")).expect("ARCHITECTURE.md has the diagram");
    let lines = after.lines().take_while(|line| !line.trim().is_empty() && !line.starts_with("```"));
    let edges = lines.filter_map(|line| line.split_once("──►")).flat_map(|(from, to)| {
        // What follows in words says when.
        let to = to.split("  ").next().unwrap_or_default();
        to.split(',').map(|to| (from.trim().to_owned(), to.trim().to_owned())).collect::<Vec<_>>()
    });
    edges.collect()
}

/// What many runs under faults have shown, between one event and the next.
fn seen() -> [Edges; 2] {
    let mut all = [Edges::new(), Edges::new()];
    let mut add = |sim: &Sim| {
        for (role, edges) in sim.edges.iter().enumerate() {
            all[role].extend(edges.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())));
        }
    };
    for seed in 0..if cfg!(debug_assertions) { 150 } else { 1500 } {
        let (plan, faults) = plan(seed);
        add(&run(plan, &faults));
    }
    let at = Duration::from_millis;
    for nodes in [1, 2] {
        for stopped in [at(0), at(1), at(3), at(300), at(1000)] {
            let mut sim = Sim::new(nodes, 1_000_000);
            let stops: Vec<_> = (0..nodes).map(|node| (stopped, Fault::Stop(node))).collect();
            sim.run(Time::from_secs(10), &stops);
            add(&sim);
        }
    }
    all
}

#[test]
fn the_diagram_shows_all_states_and_no_other_ways_between_them() {
    let [node, leader] = seen();
    for (name, seen, drawn) in [("node", node, drawn("a node")), ("leader", leader, drawn("a leader"))] {
        let lines =
            |edges: &Edges| edges.iter().map(|(from, to)| format!("{from} ──► {to}")).collect::<Vec<_>>();
        let (missing, never): (Edges, Edges) = (&seen - &drawn, &drawn - &seen);
        assert!(missing.is_empty(), "the {name}'s diagram lacks {:?}", lines(&missing));
        assert!(never.is_empty(), "the {name}'s diagram has what never happens: {:?}", lines(&never));
    }
}
