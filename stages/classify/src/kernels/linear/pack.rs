//! Weights in the order in which they are multiplied.

use super::rows::round_to_bf16;
use crate::Precision;
use crate::kernels::Multiplies;

/// Words of a panel's column group: a cache line.
const ALIGNMENT: usize = 64;

/// Weights `[panel][group of inputs][column]`, a word each.
pub(super) struct Panels {
    words: Vec<u32>,
    /// Where the first panel begins, so that it lies on a cache line.
    start: usize,
    /// Columns of a panel.
    pub(super) width: usize,
    /// Words of a column.
    pub(super) groups: usize,
    count: usize,
    /// What an integer of each column stands for, and the sum of its integers. Empty for floats.
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<i32>,
}

impl Panels {
    /// Packs `[outputs, inputs]`. What is missing in the last panel and the last word of a column is zero.
    pub(super) fn pack(
        weight: &[f32],
        inputs: usize,
        width: usize,
        multiplies: Multiplies,
        precision: Precision,
    ) -> Self {
        let outputs = weight.len() / inputs.max(1);
        let count = outputs.div_ceil(width);
        let groups = inputs.div_ceil(multiplies.inputs_per_word());
        let mut panels = Self {
            words: vec![0; count * groups * width + ALIGNMENT / size_of::<u32>()],
            start: 0,
            width,
            groups,
            count,
            scales: Vec::new(),
            sums: Vec::new(),
        };
        panels.start = panels.words.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / size_of::<u32>());
        if multiplies.integers() {
            panels.scales = vec![0.0; count * width];
            panels.sums = vec![0; count * width];
        }
        let mut column = Vec::with_capacity(groups);
        for (output, values) in weight.chunks_exact(inputs.max(1)).enumerate() {
            column.clear();
            if multiplies.integers() {
                panels.quantise(output, values, multiplies, &mut column);
            } else {
                floats(values, multiplies, precision, &mut column);
            }
            panels.place(output, &column);
        }
        panels
    }

    /// Rounds a column to integers from -127 to 127, the largest of which stands for the column's largest number.
    fn quantise(&mut self, output: usize, values: &[f32], multiplies: Multiplies, column: &mut Vec<u32>) {
        let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let integers: Vec<i8> = values.iter().map(|value| (value / scale).round() as i8).collect();
        self.scales[output] = scale;
        self.sums[output] = integers.iter().map(|&integer| i32::from(integer)).sum();
        column.extend(integers.chunks(multiplies.inputs_per_word()).map(|group| {
            let at = |index: usize| group.get(index).copied().unwrap_or(0);
            match multiplies {
                Multiplies::Pairs => pair(i16::from(at(0)).cast_unsigned(), i16::from(at(1)).cast_unsigned()),
                _ => u32::from_le_bytes([at(0), at(1), at(2), at(3)].map(i8::cast_unsigned)),
            }
        }));
    }

    fn place(&mut self, output: usize, column: &[u32]) {
        let (panel, at) = (output / self.width, output % self.width);
        let first = self.start + panel * self.groups * self.width + at;
        for (slot, word) in self.words[first..].iter_mut().step_by(self.width).zip(column) {
            *slot = *word;
        }
    }

    /// The words of a panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> &[u32] {
        let length = self.groups * self.width;
        &self.words[self.start + panel * length..][..length]
    }

    /// Bytes of the words.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u32>()
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Columns of all panels, the filled up ones with them.
    pub(super) fn columns(&self) -> usize {
        self.count * self.width
    }
}

fn floats(values: &[f32], multiplies: Multiplies, precision: Precision, column: &mut Vec<u32>) {
    let rounded = precision == Precision::Bfloat16;
    column.extend(values.chunks(multiplies.inputs_per_word()).map(|group| match group {
        [value] if multiplies.inputs_per_word() == 1 => {
            if rounded {
                u32::from(round_to_bf16(*value)) << 16
            } else {
                value.to_bits()
            }
        }
        group => {
            let at = |index: usize| group.get(index).map_or(0, |value| round_to_bf16(*value));
            pair(at(0), at(1))
        }
    }));
}

fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) | u32::from(second) << 16
}

impl Multiplies {
    /// Inputs in a word.
    pub(super) fn inputs_per_word(self) -> usize {
        match self {
            Self::Floats => 1,
            Self::Pairs => 2,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16(_) => 2,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(_) => 4,
        }
    }

    /// Whether numbers are rounded to integers.
    pub(super) fn integers(self) -> bool {
        match self {
            Self::Pairs => true,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(_) => true,
            _ => false,
        }
    }
}
