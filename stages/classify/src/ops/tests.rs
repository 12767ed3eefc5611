//! The custom operators against their twins.

use burn::tensor::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Backend, Batches};
use crate::Precision;
use crate::kernels::{Activation, Level};
use crate::network::{Positions, Ragged};
use crate::tokenize::Tokens;

const PLAIN: fn() -> Backend = || Backend::Plain { device: Device::flex(), float: DType::F32, batches: Batches::CPU };

fn custom(precision: Precision) -> impl Iterator<Item = (&'static str, Backend)> {
    Level::available().into_iter().map(move |level| (level.name(), Backend::Custom { level, precision }))
}

fn numbers(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Largest difference, in parts of the largest number.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    let most = b.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / most
}

/// Numbers of rows, inputs and outputs: around the sizes of tiles and panels, and those of a small model.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 5, 7),
    (6, 16, 32),
    (7, 17, 33),
    (13, 31, 16),
    (15, 64, 63),
    (29, 130, 96),
    (17, 4_096, 40),
    (64, 384, 1_152),
];

fn dense(precision: Precision, activation: Activation, tolerance: f32) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (rows, inputs, outputs) in SHAPES {
        // Rounding errors grow with the number of terms.
        let tolerance = tolerance * (inputs as f32 / 384.0).max(1.0);
        let (x, residual) = (numbers(&mut rng, rows * inputs), numbers(&mut rng, rows * outputs));
        let (weight, bias) = (numbers(&mut rng, outputs * inputs), numbers(&mut rng, outputs));
        let run = |backend: &Backend, with_residual: bool, threads: usize| {
            let residual = with_residual.then(|| backend.tensor(residual.clone(), [rows, outputs]));
            let x = backend.tensor(x.clone(), [rows, inputs]);
            let layer = backend.dense(weight.clone(), bias.clone());
            values(layer.forward(x, activation, residual, threads).unwrap())
        };
        for with_residual in [false, true] {
            let expected = run(&PLAIN(), with_residual, 1);
            for (level, backend) in custom(precision) {
                let found = run(&backend, with_residual, 1);
                let worst = difference(&found, &expected);
                assert!(worst <= tolerance, "{level} {rows}x{inputs}x{outputs} {activation:?}: {worst}");
                assert_eq!(found, run(&backend, with_residual, 3), "{level}: threads must not change the numbers");
            }
        }
    }
}

#[test]
fn dense_layers_are_those_of_burn() {
    for activation in [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        dense(Precision::Float32, activation, 5e-6);
    }
}

#[test]
fn dense_layers_with_rounded_numbers_are_nearly_those_of_burn() {
    dense(Precision::Bfloat16, Activation::Gelu, 8e-3);
    dense(Precision::Int8, Activation::Gelu, 1.5e-2);
}

#[test]
fn integers_give_the_same_sums_with_all_instructions() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (rows, inputs, outputs) in SHAPES {
        let x = numbers(&mut rng, rows * inputs);
        let (weight, bias) = (numbers(&mut rng, outputs * inputs), numbers(&mut rng, outputs));
        let all: Vec<_> = custom(Precision::Int8)
            .map(|(_, backend)| {
                let layer = backend.dense(weight.clone(), bias.clone());
                values(layer.forward(backend.tensor(x.clone(), [rows, inputs]), Activation::None, None, 1).unwrap())
            })
            .collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{rows}x{inputs}x{outputs}");
    }
}

#[test]
fn a_rows_numbers_do_not_depend_on_the_rows_beside_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (rows, inputs, outputs) = (33, 96, 80);
    let x = numbers(&mut rng, rows * inputs);
    let (weight, bias) = (numbers(&mut rng, outputs * inputs), numbers(&mut rng, outputs));
    for precision in [Precision::Float32, Precision::Bfloat16, Precision::Int8] {
        for (level, backend) in custom(precision) {
            let layer = backend.dense(weight.clone(), bias.clone());
            let run = |x: &[f32]| {
                let x = backend.tensor(x.to_vec(), [x.len() / inputs, inputs]);
                values(layer.forward(x, Activation::Gelu, None, 1).unwrap())
            };
            let together = run(&x);
            let alone: Vec<f32> = x.chunks(inputs).flat_map(run).collect();
            assert_eq!(together, alone, "{level} {precision:?}");
        }
    }
}

#[test]
fn layer_norms_are_those_of_burn() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (rows, width) in [(1, 1), (2, 7), (5, 16), (9, 33), (4, 384), (3, 770)] {
        let x = numbers(&mut rng, rows * width);
        let (gamma, beta) = (numbers(&mut rng, width), numbers(&mut rng, width));
        let run = |backend: &Backend| {
            let norm = backend.norm(gamma.clone(), beta.clone(), 1e-5);
            values(norm.forward(backend.tensor(x.clone(), [rows, width])).unwrap())
        };
        let expected = run(&PLAIN());
        for (level, backend) in custom(Precision::Float32) {
            let worst = difference(&run(&backend), &expected);
            assert!(worst <= 5e-6, "{level} {rows}x{width}: {worst}");
        }
    }
}

#[test]
fn a_tensor_that_somebody_else_has_stays_as_it_is() {
    for (_, backend) in custom(Precision::Float32) {
        let x = backend.tensor(vec![1.0, 2.0, 3.0, 4.0], [1, 4]);
        let kept = x.clone();
        let normed = backend.norm(vec![1.0; 4], vec![0.0; 4], 1e-5).forward(x).unwrap();
        assert_eq!(values(kept), [1.0, 2.0, 3.0, 4.0]);
        assert!((values(normed)[0] + 1.341_635).abs() < 1e-4);
    }
}

fn ragged(lengths: &[usize], threads: usize) -> Ragged {
    let tokens: Vec<Tokens> = lengths
        .iter()
        .map(|length| Tokens { ids: vec![0; *length], type_ids: vec![0; *length], truncated: false })
        .collect();
    Ragged::new(&tokens, Positions::FromZero, threads)
}

#[test]
fn attention_is_that_of_burn_over_padded_sequences() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for lengths in [&[1][..], &[5, 5], &[3, 1, 17, 4, 16], &[130, 2, 33]] {
        for (heads, size) in [(1, 3), (2, 16), (3, 8), (12, 32)] {
            let (rows, hidden) = (lengths.iter().sum::<usize>(), heads * size);
            let qkv: Vec<f32> = numbers(&mut rng, rows * 3 * hidden).iter().map(|value| value * 3.0).collect();
            for only_first in [false, true] {
                let run = |backend: &Backend, threads| {
                    let qkv = backend.tensor(qkv.clone(), [rows, 3 * hidden]);
                    values(backend.attention(qkv, &ragged(lengths, threads), heads, only_first).unwrap())
                };
                let expected = run(&PLAIN(), 1);
                for (level, backend) in custom(Precision::Float32) {
                    let found = run(&backend, 1);
                    let worst = difference(&found, &expected);
                    assert!(worst <= 5e-6, "{level} {lengths:?} {heads}x{size} {only_first}: {worst}");
                    assert_eq!(found, run(&backend, 2), "{level}: threads must not change the numbers");
                }
            }
        }
    }
}

#[test]
fn scores_that_differ_much_do_not_overflow() {
    for (level, backend) in custom(Precision::Float32) {
        let qkv = [[100.0, 100.0, 1.0], [100.0, -100.0, 2.0], [-100.0, 100.0, 3.0]].concat();
        let found = backend.attention(backend.tensor(qkv, [3, 3]), &ragged(&[3], 1), 1, false).unwrap();
        let found = values(found);
        assert!(difference(&found, &[2.0, 2.0, 2.0]) < 1e-6, "{level}: {found:?}");
    }
}
