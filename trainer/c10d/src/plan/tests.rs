use proptest::prelude::*;
use tch::{Device, Tensor};

use super::*;
use crate::ffi::{check, ls_bucket_assignment, raw_list};

const KINDS: [Kind; 3] = [Kind::Float, Kind::Double, Kind::BFloat16];

fn sizes(params: &[Tensor]) -> Vec<ParamSize> {
    params
        .iter()
        .map(|param| ParamSize {
            bytes: (param.numel() * param.kind().elt_size_in_bytes()) as u64,
            kind: param.kind(),
        })
        .collect()
}

/// libtorch's assignment of the parameters in the order last to first.
fn libtorch_buckets(params: &[Tensor], first_cap: u64, cap: u64) -> Vec<Vec<usize>> {
    let order: Vec<i64> = (0..params.len() as i64).rev().collect();
    let mut bucket_of = vec![0; params.len()];
    let list = raw_list(params);
    // SAFETY: the lists have `len` entries each and live through the call, as do the tensors.
    check(unsafe {
        ls_bucket_assignment(
            list.as_ptr(),
            list.len(),
            order.as_ptr(),
            first_cap as usize,
            cap as usize,
            bucket_of.as_mut_ptr(),
        )
    })
    .unwrap();
    let mut buckets = vec![Vec::new(); bucket_of.iter().max().unwrap() + 1];
    for index in (0..params.len()).rev() {
        buckets[bucket_of[index]].push(index);
    }
    buckets
}

fn params(numels: &[(i64, usize)]) -> Vec<Tensor> {
    numels.iter().map(|&(numel, kind)| Tensor::zeros([numel], (KINDS[kind], Device::Cpu))).collect()
}

proptest! {
    #[test]
    fn one_kind_is_bucketed_as_by_libtorch(
        numels in prop::collection::vec(1i64..3000, 1..40),
        first_cap in 1u64..5_000,
        cap in 1u64..20_000,
    ) {
        let params = params(&numels.iter().map(|&numel| (numel, 0)).collect::<Vec<_>>());
        let plan = BucketPlan::new(&sizes(&params), first_cap, cap).unwrap();
        prop_assert_eq!(plan.buckets(), libtorch_buckets(&params, first_cap, cap));
    }

    #[test]
    fn mixed_kinds_are_bucketed_as_by_libtorch(
        numels in prop::collection::vec((1i64..3000, 0usize..3), 1..40),
        first_cap in 1u64..5_000,
        cap in 1u64..20_000,
    ) {
        let params = params(&numels);
        let plan = BucketPlan::new(&sizes(&params), first_cap, cap).unwrap();
        // libtorch keeps the buckets that are not full in a hash map, so the order of these last ones is not compared.
        let sorted = |mut buckets: Vec<Vec<usize>>| { buckets.sort(); buckets };
        prop_assert_eq!(sorted(plan.buckets().to_vec()), sorted(libtorch_buckets(&params, first_cap, cap)));
        prop_assert_eq!(plan.check(&sizes(&params)), Ok(()));
    }

    #[test]
    fn each_bucket_reaches_its_cap_with_its_last_parameter(
        numels in prop::collection::vec(1i64..3000, 1..40),
        first_cap in 1u64..5_000,
        cap in 1u64..20_000,
    ) {
        let sizes: Vec<_> = numels.iter().map(|&n| ParamSize { bytes: 4 * n as u64, kind: Kind::Float }).collect();
        let plan = BucketPlan::new(&sizes, first_cap, cap).unwrap();
        let order: Vec<usize> = plan.buckets().concat();
        prop_assert!(order.into_iter().eq((0..sizes.len()).rev()));
        for (i, bucket) in plan.buckets().iter().enumerate() {
            let bytes = |members: &[usize]| members.iter().map(|&p| sizes[p].bytes).sum::<u64>();
            let cap = if i == 0 { first_cap } else { cap };
            prop_assert!(bytes(&bucket[..bucket.len() - 1]) < cap);
            prop_assert!(bytes(bucket) >= cap || i + 1 == plan.buckets().len());
        }
    }

    #[test]
    fn a_plan_survives_being_recorded(numels in prop::collection::vec((1i64..3000, 0usize..3), 0..40)) {
        let plan = BucketPlan::new(&sizes(&params(&numels)), 1000, 4000).unwrap();
        let recorded = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<BucketPlan>(&recorded).unwrap(), plan);
    }
}

#[test]
fn the_record_has_these_names() {
    let size = ParamSize { bytes: 8, kind: Kind::Float };
    let plan = BucketPlan::new(&[size; 3], 8, 16).unwrap();
    let record = r#"{"firstCapBytes":8,"capBytes":16,"buckets":[[2],[1,0]]}"#;
    assert_eq!(serde_json::to_string(&plan).unwrap(), record);
}

#[test]
fn a_plan_of_another_model_is_refused() {
    let float = ParamSize { bytes: 8, kind: Kind::Float };
    let double = ParamSize { bytes: 8, kind: Kind::Double };
    let plan = BucketPlan::new(&[float; 3], 100, 100).unwrap();
    assert_eq!(
        plan.check(&[float; 2]),
        Err(PlanError::NoSuchParameter { bucket: 0, parameter: 2, num_parameters: 2 })
    );
    assert_eq!(
        plan.check(&[float; 4]),
        Err(PlanError::NotOnce { parameter: 3, num_parameters: 4, times: 0 })
    );
    assert_eq!(plan.check(&[float, float, double]), Err(PlanError::BadBucket { bucket: 0 }));
    assert_eq!(BucketPlan::new(&[float], 0, 1), Err(PlanError::BadCap { bytes: 0 }));
    assert_eq!(BucketPlan::new(&[float], 1, u64::MAX), Err(PlanError::BadCap { bytes: u64::MAX }));
}
