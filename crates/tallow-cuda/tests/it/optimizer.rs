use tallow_cuda::calls::optimizer::{Entry, Rule, increment, step, table};

use crate::emulator::{Buffer, Emulator, emulator};
use crate::support::{bits, in_both_orders, values};

/// Lengths around the values that a block updates.
const LENGTHS: [usize; 6] = [1, 10, 4095, 4096, 4097, 9000];

/// Parameters and states after two steps of all parameters, each in one launch.
fn on_the_device(e: &Emulator, rules: &[Rule; 2]) -> Vec<Vec<u32>> {
    in_both_orders(|backwards| {
        let seeded = |seed: u64| {
            let of = |(i, &len): (usize, &usize)| Buffer::floats(&values(len, seed + i as u64));
            LENGTHS.iter().enumerate().map(of).collect::<Vec<_>>()
        };
        let zeros = || LENGTHS.map(|len| Buffer::floats(&vec![0.; len]));
        let (mut params, mut grads) = (seeded(10), seeded(20));
        let mut states = [zeros(), zeros(), zeros()];
        for rule in rules {
            let entry = |i: usize| Entry {
                param: params[i].address(),
                grad: grads[i].address(),
                state: [0, 1, 2].map(|s: usize| {
                    if s < rule.states() {
                        states[s][i].address()
                    } else {
                        0
                    }
                }),
                length: LENGTHS[i] as u32,
                rule: *rule,
            };
            let entries: Vec<Entry> = (0..LENGTHS.len()).map(entry).collect();
            let (words, blocks) = table(&entries);
            let mut words = Buffer::table(&words);
            let call = step(rule.kernel(), words.address(), entries.len() as u32, blocks);
            e.run(&[call], backwards);
            words.read();
        }
        let all = params.iter().chain(states.iter().flatten());
        all.map(|buffer| bits(buffer.read())).collect()
    })
}

/// The same one value after another, as tallow-train does on the CPU.
fn on_the_cpu(update: impl Fn(&mut f32, f32, [&mut f32; 3], usize)) -> Vec<Vec<u32>> {
    let mut results = [vec![], vec![], vec![], vec![]];
    for (i, &len) in LENGTHS.iter().enumerate() {
        let (mut params, grads) = (values(len, 10 + i as u64), values(len, 20 + i as u64));
        let mut states = [vec![0.; len], vec![0.; len], vec![0.; len]];
        for round in 0..2 {
            let [a, b, c] = &mut states;
            for k in 0..len {
                update(
                    &mut params[k],
                    grads[k],
                    [&mut a[k], &mut b[k], &mut c[k]],
                    round,
                );
            }
        }
        results[0].push(bits(&params));
        for (result, state) in results[1..].iter_mut().zip(&states) {
            result.push(bits(state));
        }
    }
    results.into_iter().flatten().collect()
}

#[test]
fn gradient_descent() {
    let Some(e) = emulator() else { return };
    for (momentum, nesterov) in [(None, false), (Some(0.9), false), (Some(0.9), true)] {
        // Dampening leaves a share of the gradient out, except in the first step.
        let rule = |share| Rule::Sgd {
            lr: 0.1,
            sign: -1.,
            weight_decay: 0.01,
            momentum,
            share,
            nesterov,
        };
        let found = on_the_device(e, &[rule(1.), rule(0.7)]);
        let expected = on_the_cpu(|p, g, [m, _, _], round| {
            let share = [1., 0.7][round];
            let g = -g + 0.01 * *p;
            let direction = match momentum {
                None => g,
                Some(momentum) => {
                    *m = momentum * *m + share * g;
                    if nesterov { g + momentum * *m } else { *m }
                }
            };
            *p -= 0.1 * direction;
        });
        assert_eq!(found, expected, "{momentum:?} {nesterov}");
    }
}

#[test]
fn adam() {
    let Some(e) = emulator() else { return };
    for amsgrad in [false, true] {
        let rule = |step_size, root2| Rule::Adam {
            keep: 0.99,
            weight_decay: 0.02,
            eps: 1e-8,
            sign: 1.,
            new1: 0.1,
            beta2: 0.999,
            new2: 0.001,
            step_size,
            root2,
            amsgrad,
        };
        let rules = [(0.01, 0.0316), (0.0053, 0.0447)];
        let found = on_the_device(e, &rules.map(|(step_size, root2)| rule(step_size, root2)));
        let expected = on_the_cpu(|p, g, [m, v, largest], round| {
            let (step_size, root2) = rules[round];
            let kept = 0.99 * *p;
            let g = g + 0.02 * *p;
            *m += 0.1 * (g - *m);
            *v = 0.999 * *v + 0.001 * g * g;
            let mut square = *v;
            if amsgrad {
                *largest = f32::max(*largest, *v);
                square = *largest;
            }
            *p = kept - step_size * *m / (square.sqrt() / root2 + 1e-8);
        });
        assert_eq!(found, expected, "{amsgrad}");
    }
}

#[test]
fn counters_go_up_by_one() {
    let Some(e) = emulator() else { return };
    let found = in_both_orders(|backwards| {
        let mut counters = Buffer::table(&[0, 41, u64::from(u32::MAX)]);
        e.run(&[increment(counters.address(), 3)], backwards);
        counters.read().to_vec()
    });
    assert_eq!(found, [1, 42, 1 << 32]);
}
