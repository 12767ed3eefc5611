//! From a checkpoint to a model.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use burn::tensor::DType;

use super::compute::{Encoder, Sizes};
use super::{Model, ModelInfo};
use crate::checkpoint::{Checkpoint, Config, Weights};
use crate::kernels::Level;
use crate::network::{Names, Network, tensors};
use crate::ops::{Backend, Batches, cuda};
use crate::tokenize::Tokenizer;
use crate::{Device, ModelError, Options, Precision};

/// Tells models apart that are in memory: their hash and how they compute.
type Key = (String, Precision, Device);

/// What is in memory, as long as somebody uses it.
static OPENED: Mutex<Vec<(Key, ModelInfo, Weak<Encoder>)>> = Mutex::new(Vec::new());

impl Model {
    /// The model inside the program.
    ///
    /// # Errors
    /// If the options do not fit; none with those of a program that passed its tests.
    pub fn builtin(options: Options) -> Result<Self, ModelError> {
        Self::load(&Checkpoint::builtin(), options)
    }

    /// Opens a Hugging Face directory: config.json, tokenizer.json and model.safetensors, or several such files with
    /// their index, of a sequence classifier of BERT, RoBERTa, XLM-RoBERTa or DistilBERT, with weights in float32,
    /// float16 or bfloat16. A process has the weights in memory once, however often they are opened.
    ///
    /// # Errors
    /// If a file is missing or damaged, if the files do not belong together, or if they describe a model that this
    /// crate would compute otherwise than transformers does.
    pub fn open(directory: &Path, options: Options) -> Result<Self, ModelError> {
        Self::load(&Checkpoint::open(directory)?, options)
    }

    /// The same with a name of its own.
    pub(crate) fn open_as(name: &str, directory: &Path, options: Options) -> Result<Self, ModelError> {
        Self::load(&Checkpoint { name: name.to_owned(), ..Checkpoint::open(directory)? }, options)
    }

    fn load(checkpoint: &Checkpoint, options: Options) -> Result<Self, ModelError> {
        // Named, for those who look at threads. It fails only if somebody else has made the pool before.
        let _ = rayon::ThreadPoolBuilder::new().thread_name(|number| format!("model-{number}")).build_global();
        // The lock is held while loading, so that threads that start together do not all load.
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(_, _, encoder)| encoder.strong_count() > 0);
        let key = (checkpoint.hash()?, options.precision, options.device);
        let found = opened.iter().find(|(other, _, _)| *other == key);
        let found = found.and_then(|(_, info, encoder)| Some((info.clone(), encoder.upgrade()?)));
        let (mut info, encoder) = match found {
            Some(found) => found,
            None => {
                let (info, encoder) = load(checkpoint, &key)?;
                let encoder = Arc::new(encoder);
                opened.push((key, info.clone(), Arc::downgrade(&encoder)));
                (info, encoder)
            }
        };
        info.name.clone_from(&checkpoint.name);
        if let Some(labels) = &options.labels {
            if labels.len() != info.labels.len() {
                return Err(ModelError::Labels { given: labels.len(), labels: info.labels });
            }
            info.labels.clone_from(labels);
        }
        Ok(Self { info, options, encoder })
    }
}

fn load(checkpoint: &Checkpoint, (hash, precision, device): &Key) -> Result<(ModelInfo, Encoder), ModelError> {
    let config = Config::parse(&checkpoint.config.file, &checkpoint.config.all()?)?;
    let tokenizer = Tokenizer::parse(&checkpoint.tokenizer.file, &checkpoint.tokenizer.all()?, &config)?;
    let names = Names::of(config.architecture);
    let tensors = tensors(&config, &names);
    let weights = Weights::open(&checkpoint.weights, config.architecture.name(), &tensors, |name| names.ignored(name))?;
    let (backend, instructions) = backend(*precision, *device)?;
    let network = Network::load(&config, &names, &weights, backend)?;
    let sizes = Sizes {
        labels: config.labels.len(),
        max_tokens: config.max_tokens(),
        vocabulary: config.vocabulary,
        // Hidden states before and after a layer, queries, keys, values, context, and the wide part.
        bytes_per_token: size_of::<f32>() * (7 * config.hidden + 2 * config.intermediate),
        widest_bytes_per_token: size_of::<f32>() * config.intermediate.max(3 * config.hidden),
    };
    let info = ModelInfo {
        name: checkpoint.name.clone(),
        version: config.version.unwrap_or_else(|| hash.chars().take(12).collect()),
        hash: hash.clone(),
        architecture: config.architecture.name().to_owned(),
        layers: config.layers,
        hidden: config.hidden,
        heads: config.heads,
        intermediate: config.intermediate,
        vocabulary: config.vocabulary,
        tokenizer: tokenizer.kind.to_owned(),
        max_tokens: sizes.max_tokens,
        labels: config.labels,
        multi_label: config.multi_label,
        parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        bytes: checkpoint.bytes(),
        memory: network.bytes(),
        precision: *precision,
        device: *device,
        instructions,
    };
    Ok((info, Encoder::new(tokenizer, network, sizes)))
}

/// Where to compute, and the word for it.
fn backend(precision: Precision, device: Device) -> Result<(Backend, String), ModelError> {
    match device {
        Device::Cpu => Ok(match Level::choose()? {
            Some(level) => (Backend::Custom { level, precision }, level.name().to_owned()),
            None => {
                let (device, batches) = (burn::tensor::Device::flex(), Batches { padded: true, ..Batches::CPU });
                (Backend::Plain { device, float: DType::F32, batches }, "burn".to_owned())
            }
        }),
        Device::Cuda => {
            let (device, float) = cuda::open(precision).map_err(|problem| ModelError::Device { problem })?;
            Ok((Backend::Plain { device, float, batches: Batches::GPU }, "cuda".to_owned()))
        }
    }
}
