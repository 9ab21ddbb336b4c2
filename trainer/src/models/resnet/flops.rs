//! How many operations a network takes for a picture.

use super::Shape;
use super::block::Kind;

impl Shape {
    /// Floating-point operations of a forward and a backward pass over one picture of these sides.
    pub(super) fn flops(&self, num_channels: i64, sides: [i64; 2], num_classes: i64) -> f64 {
        let halved = |sides: [i64; 2]| sides.map(|side| (side + 1) / 2);
        let (kernel, mut sides) = if self.has_large_stem { (7, halved(sides)) } else { (3, sides) };
        let mut products = conv(num_channels, self.width, kernel, sides);
        if self.has_large_stem {
            sides = halved(sides);
        }
        let mut inputs = self.width;
        for (stage, count) in self.blocks.iter().enumerate() {
            let width = self.width << stage;
            let outputs = self.form.outputs(width);
            for i in 0..*count {
                let before = sides;
                if stage > 0 && i == 0 {
                    sides = halved(sides);
                }
                products += match self.form.kind {
                    Kind::Basic => conv(inputs, width, 3, sides) + conv(width, outputs, 3, sides),
                    Kind::Bottleneck => {
                        conv(inputs, width, 1, before)
                            + conv(width, width, 3, sides)
                            + conv(width, outputs, 1, sides)
                    }
                };
                if self.form.projects && inputs != outputs {
                    products += conv(inputs, outputs, 1, sides);
                }
                inputs = outputs;
            }
        }
        6.0 * (products + (inputs * num_classes) as f64)
    }
}

/// Multiplications of a convolution whose result has these sides.
fn conv(inputs: i64, outputs: i64, kernel: i64, [height, width]: [i64; 2]) -> f64 {
    (inputs * outputs * kernel * kernel * height * width) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A forward pass takes 1.81, 3.66 and 4.09 billion multiplications at 224 px, as torchvision's models say of themselves, and
    /// 41 million at 32 px for 20 layers, as He and others count them.
    #[test]
    fn the_networks_take_as_many_operations_as_they_are_known_for() {
        for (depth, side, num_classes, expected) in
            [(18, 224, 1000, 1.81e9), (34, 224, 1000, 3.66e9), (50, 224, 1000, 4.09e9), (20, 32, 10, 40.6e6)]
        {
            let found = Shape::of(depth).unwrap().flops(3, [side; 2], num_classes) / 6.0;
            assert!((found / expected - 1.0).abs() < 0.005, "depth {depth}: {found}");
        }
    }
}
