//! Outputs for a batch of an evaluation, on their way from the rank that computed them to all.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::ranks::Ranks;

/// Outputs for a batch.
pub(super) struct Judged {
    /// Sum of the losses, and the divisor of their mean.
    pub loss: (f64, f64),
    /// Logits `(N, K)`.
    pub logits: Tensor,
    /// Labels `(N)`.
    pub labels: Tensor,
}

/// Batches of all ranks in the order of the loader; none when no rank has one any more.
pub(super) fn of_all(ranks: &Ranks, own: Option<Judged>) -> Result<Vec<Judged>> {
    if ranks.is_alone() {
        return Ok(own.into_iter().collect());
    }
    let bytes = own.map(|own| own.encode()).transpose()?;
    let all = ranks.all_gather(&bytes.unwrap_or_default())?;
    let mut judged = Vec::new();
    for (rank, bytes) in all.iter().enumerate() {
        if bytes.is_empty() {
            continue;
        }
        judged.push(Judged::decode(bytes).ok_or_else(|| {
            Error::Ranks(format!(
                "rank {rank} sent something else than outputs of a batch: the ranks run different programs"
            ))
        })?);
    }
    Ok(judged)
}

/// Bytes before the logits: loss, divisor, N, K.
const HEADER: usize = 32;

impl Judged {
    /// Bytes of the batch. The logits are written as `f32`, as which they are counted.
    fn encode(&self) -> Result<Vec<u8>> {
        let logits = self.logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let labels = self.labels.to_vec1::<u32>()?;
        let classes = self.logits.dim(1)?;
        let mut bytes = Vec::with_capacity(HEADER + labels.len() * (classes + 1) * 4);
        bytes.extend(self.loss.0.to_le_bytes());
        bytes.extend(self.loss.1.to_le_bytes());
        bytes.extend((labels.len() as u64).to_le_bytes());
        bytes.extend((classes as u64).to_le_bytes());
        for logit in logits.iter().flatten() {
            bytes.extend(logit.to_le_bytes());
        }
        for label in labels {
            bytes.extend(label.to_le_bytes());
        }
        Ok(bytes)
    }

    /// Batch of [`encode`](Self::encode); `None` for other bytes.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER)?;
        let (words, _) = header.as_chunks::<8>();
        let [loss, divisor, samples, classes] = words else {
            return None;
        };
        let samples = usize::try_from(u64::from_le_bytes(*samples)).ok()?;
        let classes = usize::try_from(u64::from_le_bytes(*classes)).ok()?;
        let (numbers, rest) = body.as_chunks::<4>();
        let (logits, labels) = numbers.split_at_checked(samples.checked_mul(classes)?)?;
        if labels.len() != samples || !rest.is_empty() {
            return None;
        }
        let logits: Vec<f32> = logits.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let labels: Vec<u32> = labels.iter().map(|b| u32::from_le_bytes(*b)).collect();
        Some(Self {
            loss: (f64::from_le_bytes(*loss), f64::from_le_bytes(*divisor)),
            logits: Tensor::from_vec(logits, (samples, classes), &Device::Cpu).ok()?,
            labels: Tensor::from_vec(labels, samples, &Device::Cpu).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_as_they_were_sent_and_nothing_else_does() {
        let device = &Device::Cpu;
        let judged = Judged {
            loss: (f64::NAN, 2.0),
            logits: Tensor::new(&[[0.1f64, -0.0, f64::INFINITY], [1.0, 2.0, 3.0]], device).unwrap(),
            labels: Tensor::new(&[2u32, 0], device).unwrap(),
        };
        let bytes = judged.encode().unwrap();
        let found = Judged::decode(&bytes).unwrap();
        assert!(found.loss.0.is_nan() && found.loss.1 == 2.0);
        let logits = found.logits.to_vec2::<f32>().unwrap();
        let bits: Vec<u32> = logits.iter().flatten().map(|x| x.to_bits()).collect();
        let expected = [0.1f32, -0.0, f32::INFINITY, 1.0, 2.0, 3.0].map(f32::to_bits);
        assert_eq!(bits, expected);
        assert_eq!(found.labels.to_vec1::<u32>().unwrap(), [2, 0]);

        for cut in 0..bytes.len() {
            assert!(Judged::decode(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(Judged::decode(&[&bytes[..], &[0]].concat()).is_none());
        // A number of samples that no memory holds.
        let mut huge = bytes.clone();
        huge[16..24].fill(0xff);
        assert!(Judged::decode(&huge).is_none());
    }
}
