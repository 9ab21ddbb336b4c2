use super::*;
use crate::rank::{Running, Variables};
use lockstep_job::BatchNorm;
use serde_json::Value;
use tch::nn::VarStore;

fn of(depth: u32) -> Resnet {
    Resnet { depth, label_smoothing: 0.0, zero_init_residual: false, batch_norm: BatchNorm::PerRank }
}

fn built(depth: u32, num_channels: i64, num_classes: i64) -> (VarStore, Box<dyn Model>) {
    let vars = VarStore::new(Device::Cpu);
    let running = Running::default();
    let empty = batch(Tensor::zeros([0, num_channels, 32, 32], (Number::Float, Device::Cpu)));
    let num_classes = Some(num_classes);
    let setup = Setup {
        config: &Value::Null,
        columns: &empty,
        num_classes,
        vocab: None,
        device: Device::Cpu,
        running: &running,
    };
    let resnet = of(depth);
    let model = resnet.build(&setup, &vars.root()).unwrap();
    running.close(Device::Cpu).unwrap();
    (vars, model)
}

fn batch(image: Tensor) -> Batch {
    let len = image.size()[0];
    let label = Tensor::zeros([len], (Number::Int64, Device::Cpu));
    let columns = vec![(IMAGE.to_owned(), image), ("label".to_owned(), label)];
    Batch::new(columns, (0..len as u64).collect())
}

/// As the paper and torchvision count them.
#[test]
fn the_networks_have_as_many_parameters_as_they_are_known_for() {
    for (depth, num_classes, expected) in [
        (20, 10, 269_722),
        (56, 10, 853_018),
        (18, 1000, 11_689_512),
        (34, 1000, 21_797_672),
        (50, 1000, 25_557_032),
    ] {
        let (vars, _) = built(depth, 3, num_classes);
        assert_eq!(Variables::of(&vars, None).unwrap().num_parameters(), expected, "depth {depth}");
    }
}

#[test]
fn a_batch_of_nothing_depends_on_every_parameter() {
    for depth in [18, 20] {
        let (vars, model) = built(depth, 3, 10);
        let loss =
            model.forward(&batch(Tensor::zeros([0, 3, 32, 32], (Number::Float, Device::Cpu)))).unwrap();
        assert_eq!(loss.double_value(&[]), 0.0);
        let grads = Tensor::run_backward(&[loss], &vars.trainable_variables(), false, false);
        assert!(
            grads.iter().all(|grad| grad.defined() && grad.abs().sum(Number::Float).double_value(&[]) == 0.0)
        );
    }
}

#[test]
fn a_picture_without_channels_is_told() {
    let vars = VarStore::new(Device::Cpu);
    let (running, empty) = (Running::default(), batch(Tensor::zeros([0, 64], (Number::Float, Device::Cpu))));
    let setup = Setup {
        config: &Value::Null,
        columns: &empty,
        num_classes: Some(3),
        vocab: None,
        device: Device::Cpu,
        running: &running,
    };
    let resnet = of(20);
    let error = resnet.build(&setup, &vars.root()).err().unwrap().to_string();
    assert!(error.contains("[64], but a picture is [channels, height, width]"), "{error}");
}

#[test]
fn every_layer_keeps_a_pixels_channels_side_by_side() {
    let options = (Number::Float, Device::Cpu);
    for shape in [[2, 3, 8, 8], [2, 1, 8, 8], [0, 3, 8, 8]] {
        let image = Tensor::arange(shape.iter().product::<i64>(), options).view(shape);
        let laid_out = laid_out(&image).unwrap();
        assert_eq!((laid_out.stride()[1], &laid_out), (1, &image), "{shape:?}");
    }
    let vars = VarStore::new(Device::Cpu);
    let running = Running::default();
    let model = of(20);
    let blocks = [(8, 1, false), (16, 2, true), (16, 2, false)].map(|(width, stride, projects)| {
        let path = vars.root() / format!("{width} {projects}");
        let form = Form { kind: Kind::Basic, projects };
        Block::new(&path, &running, form, 8, width, stride, &model).unwrap()
    });
    running.close(Device::Cpu).unwrap();
    let conv = Conv::new(&(vars.root() / "first"), 1, 8, 3, 1).unwrap();
    let x = conv.forward(&laid_out(&Tensor::ones([2, 1, 8, 8], options)).unwrap()).unwrap();
    for block in &blocks {
        let made = block.forward(&x, true).unwrap();
        assert_eq!(made.stride()[1], 1, "{block:?}");
    }
}
