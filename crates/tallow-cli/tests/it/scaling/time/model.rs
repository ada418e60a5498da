//! Model of the time of a step on several processes.
//!
//! A step computes for `compute` seconds. The gradients are added in buckets, which leave in the order in which the backward pass has them: the
//! first ones when a share of the step is left, `overlap`, and the last one when it has ended. Sums that go on beyond the computing cost time.
//! Sending and adding takes the cores some time too, `work` for a byte, in which processes with the same cores take turns.
//!
//! ```text
//! T = max(busy + last, (1 - overlap) busy + sum)      busy = compute + crowd work moved      moved = 2 (W - 1) / W bytes
//! sum = moved / rate + buckets 2 latency              last = sum / buckets
//! ```

/// Bytes of a bucket.
const BUCKET: f64 = tallow_train::BUCKET_BYTES as f64;
/// Share of a network's rate that is left beside the headers of TCP, IP and Ethernet: 1448 bytes of a frame of 1514.
const PAYLOAD: f64 = 1448.0 / 1514.0;

/// Step of each of several processes, on a link of its own.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Number of processes.
    pub world: usize,
    /// Bytes of the gradients.
    pub bytes: f64,
    /// Seconds of a step without a sum.
    pub compute: f64,
    /// Bits a second of each link.
    pub rate: f64,
    /// Processes for each core of their machine.
    pub crowd: f64,
}

/// Figures that the model takes from measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Share of the computing that sums can hide behind, in `[0, 1]`.
    pub overlap: f64,
    /// Seconds that a message of each of the two halves of a bucket's sum takes beside its bytes.
    pub latency: f64,
    /// Seconds of a core for each byte that a process sends.
    pub work: f64,
}

impl Step {
    fn buckets(&self) -> f64 {
        (self.bytes / BUCKET).ceil().max(1.0)
    }

    /// Bytes that each process sends.
    fn moved(&self) -> f64 {
        let world = self.world as f64;
        2.0 * (world - 1.0) / world * self.bytes
    }

    /// Seconds of the sum alone.
    pub fn sum(&self, fit: &Fit) -> f64 {
        if self.world == 1 {
            return 0.0;
        }
        8.0 * self.moved() / (self.rate * PAYLOAD) + 2.0 * self.buckets() * fit.latency
    }

    /// Seconds of the step.
    pub fn time(&self, fit: &Fit) -> f64 {
        let sum = self.sum(fit);
        let busy = self.compute + self.crowd * fit.work * self.moved();
        let behind = busy + sum / self.buckets();
        behind.max((1.0 - fit.overlap) * busy + sum)
    }
}

/// The fit with the least mean of squares of relative errors, to measured seconds of steps, on a grid of two digits of the overlap, of a
/// tenth of a millisecond of the latency and of half a nanosecond of the work.
pub fn fit(points: &[(Step, f64)]) -> Fit {
    let square = |candidate: &Fit| -> f64 {
        let errors = points.iter().map(|(step, measured)| {
            let error = step.time(candidate) / measured - 1.0;
            error * error
        });
        errors.sum()
    };
    let candidates = (0..=100).flat_map(|overlap| {
        (0..=100).flat_map(move |latency| {
            (0..=40).map(move |work| Fit {
                overlap: f64::from(overlap) / 100.0,
                latency: f64::from(latency) * 1e-4,
                work: f64::from(work) * 0.5e-9,
            })
        })
    });
    let best = candidates.min_by(|a, b| square(a).total_cmp(&square(b)));
    best.unwrap_or(Fit {
        overlap: 0.0,
        latency: 0.0,
        work: 0.0,
    })
}

/// Mean and largest relative error of the model at measured points, in percent.
pub fn errors(points: &[(Step, f64)], fit: &Fit) -> (f64, f64) {
    let errors: Vec<f64> = points
        .iter()
        .map(|(step, measured)| 100.0 * (step.time(fit) / measured - 1.0).abs())
        .collect();
    let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    (mean, errors.into_iter().fold(0.0, f64::max))
}

/// As [`errors`], of each point by the fit to all others: what the model is worth where nothing was measured.
pub fn errors_left_out(points: &[(Step, f64)]) -> (f64, f64) {
    let left_out = points
        .iter()
        .enumerate()
        .map(|(left_out, &(step, measured))| {
            let mut others = points.to_vec();
            others.remove(left_out);
            (step.time(&fit(&others)) / measured - 1.0).abs() * 100.0
        });
    let errors: Vec<f64> = left_out.collect();
    let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    (mean, errors.into_iter().fold(0.0, f64::max))
}

/// Share of the time of a step that is computing, on so many nodes of several devices: gradients are added within a node first, each device has
/// its part of them, and the parts are added between the nodes, each on a link of its own.
pub fn share_of_computing(nodes: usize, within: Step, between_rate: f64, fit: &Fit) -> f64 {
    let between = Step {
        world: nodes,
        bytes: within.bytes / within.world as f64,
        rate: between_rate,
        ..within
    };
    let sum = within.sum(fit) + between.sum(fit);
    let behind = within.compute + sum / within.buckets();
    within.compute / behind.max((1.0 - fit.overlap) * within.compute + sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Fit = Fit {
        overlap: 0.0,
        latency: 0.0,
        work: 0.0,
    };

    fn step(world: usize, rate: f64) -> Step {
        Step {
            world,
            bytes: 40e6,
            compute: 2.0,
            rate,
            crowd: world as f64 / 2.0,
        }
    }

    #[test]
    fn a_process_alone_computes() {
        assert_eq!(step(1, 1e6).time(&PLAIN), 2.0);
    }

    #[test]
    fn a_sum_takes_the_bytes_of_a_ring() {
        // 10 MB on two processes, 100 Mbit/s.
        let small = Step {
            bytes: 10e6,
            ..step(2, 1e8)
        };
        assert!((small.sum(&PLAIN) - 0.836).abs() < 1e-3);
        let four = Step { world: 4, ..small };
        assert!((four.sum(&PLAIN) / small.sum(&PLAIN) - 1.5).abs() < 1e-12);
        let slow = Fit {
            latency: 0.1,
            ..PLAIN
        };
        // Three buckets, twice each.
        assert!((small.sum(&slow) - small.sum(&PLAIN) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn sums_hide_behind_the_share_that_is_left() {
        let at = |overlap: f64, rate: f64| {
            let step = step(2, rate);
            let fit = Fit { overlap, ..PLAIN };
            (step.time(&fit), step.sum(&fit))
        };
        let (time, sum) = at(0.0, 1e9);
        assert!((time - 2.0 - sum).abs() < 1e-12);
        // A slow network: what is beyond the share costs time.
        let (time, sum) = at(0.5, 1e8);
        assert!((time - 1.0 - sum).abs() < 1e-12);
        // A fast one: the last bucket does.
        let (time, sum) = at(0.5, 1e10);
        assert!((time - 2.0 - sum / 10.0).abs() < 1e-12);
    }

    #[test]
    fn processes_that_share_cores_take_turns() {
        let fit = Fit {
            work: 5e-9,
            ..PLAIN
        };
        let more = |world: usize| step(world, 1e9).time(&fit) - step(world, 1e9).time(&PLAIN);
        // 40 MB on two processes, 60 MB on each of four with half a core each.
        assert!((more(2) - 0.2).abs() < 1e-12);
        assert!((more(4) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn a_fit_finds_what_points_were_made_with() {
        let made = Fit {
            overlap: 0.37,
            latency: 0.0012,
            work: 4e-9,
        };
        let rates = [5e7, 1e8, 2e8, 5e8, 1e9];
        let steps = rates
            .iter()
            .flat_map(|&rate| [step(2, rate), step(4, rate)]);
        let points: Vec<(Step, f64)> = steps.map(|step| (step, step.time(&made))).collect();
        let found = fit(&points);
        assert!((found.overlap - made.overlap).abs() < 1e-9, "{found:?}");
        assert!((found.latency - made.latency).abs() < 1e-9, "{found:?}");
        assert!((found.work - made.work).abs() < 1e-15, "{found:?}");
        let (mean, largest) = errors(&points, &found);
        assert!(mean <= largest && largest < 1e-6, "{largest}");
        assert!(errors_left_out(&points).1 < 1e-6);
        // A point that is 10 % slower shows.
        let mut wrong = points.clone();
        wrong[0].1 *= 1.1;
        assert!(errors(&wrong, &found).1 > 9.0);
    }

    #[test]
    fn nodes_of_several_devices_add_their_parts_between_them() {
        let within = Step {
            world: 8,
            bytes: 45e6,
            compute: 0.005,
            rate: 3.6e12,
            crowd: 0.0,
        };
        let share = share_of_computing(1, within, 4e11, &PLAIN);
        assert!((share - within.compute / within.time(&PLAIN)).abs() < 1e-12);
        let more = share_of_computing(64, within, 4e11, &PLAIN);
        assert!(more < share && more > 0.9, "{share} {more}");
    }
}
