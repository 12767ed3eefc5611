//! NVIDIA GPUs, as far as they are there.

use burn::tensor::{DType, Device};

use crate::Precision;

/// The first GPU, and the type of numbers on it.
///
/// # Errors
/// What is missing.
#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "asking whether a library can be loaded runs its initialisation")]
pub(crate) fn open(precision: Precision) -> Result<(Device, DType), String> {
    use cudarc::{driver, nvrtc};

    // SAFETY: both load a library of NVIDIA's from the system's own places, which has no effect but that it is loaded.
    let (is_driver, is_compiler) = unsafe { (driver::sys::is_culib_present(), nvrtc::sys::is_culib_present()) };
    if !is_driver {
        return Err("the NVIDIA driver (libcuda.so.1) is not on this machine".to_owned());
    }
    if !is_compiler {
        return Err("NVRTC (libnvrtc.so), which comes with the CUDA toolkit, is not on this machine".to_owned());
    }
    match driver::CudaContext::device_count() {
        Ok(1..) => {}
        Ok(_) => return Err("there is no NVIDIA GPU".to_owned()),
        Err(error) => return Err(format!("the NVIDIA driver says: {error}")),
    }
    let float = match precision {
        Precision::Float32 => DType::F32,
        Precision::Bfloat16 => DType::BF16,
        Precision::Int8 => return Err("`precision: int8` is for the CPU; take `bfloat16`".to_owned()),
    };
    Ok((Device::cuda(0), float))
}

/// Nothing is there.
#[cfg(not(feature = "cuda"))]
pub(crate) fn open(_precision: Precision) -> Result<(Device, DType), String> {
    Err("this program is built without the feature `cuda`".to_owned())
}
