// Sums over the pixels of every channel.
#ifndef DARTS_JAX_SUMS_H_
#define DARTS_JAX_SUMS_H_

#include <cmath>
#include <vector>

#include "parallel.h"
#include "vectors.h"

namespace darts {

// Numbers that are added up in registers before they join a sum of wider numbers.
constexpr int64_t kRun = 1 << 13;

// Adds the sums of first(a, b) and of second(a, b) by channel to totals [2, channel].
template <class T, class First, class Second>
void add_sums(const T* a, const T* b, int64_t size, const Lanes& lanes, double* totals,
              const First& first, const Second& second) {
  constexpr int V = kLanes<T>;
  const int64_t run = round_up(kRun, 4 * lanes.period);
  for (int64_t kind = 0; kind < lanes.period; kind += V)
    for (int64_t begin = 0; begin < size; begin += run) {
      const int64_t end = std::min(size, begin + run);
      Vec<T, V> sums[2][4] = {};
      int64_t f = begin + kind;
      for (; f + 3 * lanes.period + V <= end; f += 4 * lanes.period)
#pragma GCC unroll 4
        for (int u = 0; u < 4; ++u) {
          const Vec<T, V> x = load<T, V>(a + f + u * lanes.period);
          const Vec<T, V> y = load<T, V>(b + f + u * lanes.period);
          sums[0][u] += first(x, y, kind);
          sums[1][u] += second(x, y, kind);
        }
      for (; f + V <= end; f += lanes.period) {
        const Vec<T, V> x = load<T, V>(a + f), y = load<T, V>(b + f);
        sums[0][0] += first(x, y, kind);
        sums[1][0] += second(x, y, kind);
      }
      Vec<T, V> both[2];
      for (int s = 0; s < 2; ++s)
        both[s] = (sums[s][0] + sums[s][1]) + (sums[s][2] + sums[s][3]);
      if (f < end) {  // a part of a vector
        Vec<T, V> x{}, y{}, zero{};
        std::memcpy(&x, a + f, (end - f) * sizeof(T));
        std::memcpy(&y, b + f, (end - f) * sizeof(T));
        const Vec<T, V> one = first(x, y, kind), two = second(x, y, kind);
        for (int64_t l = 0; l < end - f; ++l) {
          both[0][l] += one[l];
          both[1][l] += two[l];
        }
      }
      for (int s = 0; s < 2; ++s)
        for (int64_t l = 0; l < V; ++l)
          totals[s * lanes.channels + (kind + l) % lanes.channels] += both[s][l];
    }
}

constexpr int64_t kSumParts = 8;

// totals [2, channel] of arrays [pixel, channel], added up in parts of fixed size.
template <class T, class First, class Second>
void sum_pairs(xla::ffi::ThreadPool& pool, const T* a, const T* b, int64_t pixels,
               const Lanes& lanes, double* totals, const First& first,
               const Second& second) {
  const int64_t c = lanes.channels;
  const int64_t parts = pixels * c < 4 * kRun ? 1 : kSumParts;
  std::vector<double> partial(parts * 2 * c);
  parallel_for(pool, parts, [&](int64_t p) {
    const int64_t begin = p * pixels / parts * c, end = (p + 1) * pixels / parts * c;
    add_sums(a + begin, b + begin, end - begin, lanes, partial.data() + p * 2 * c, first,
             second);
  });
  std::fill_n(totals, 2 * c, 0.0);
  for (int64_t p = 0; p < parts; ++p)
    for (int64_t i = 0; i < 2 * c; ++i) totals[i] += partial[p * 2 * c + i];
}

// Sums of the distances of numbers from an origin, and of their squares, by channel:
// part by part, so that parts can be made by any thread and join in their order.
// Origins are the means of guessed moments [edge, 2, channel].
template <class T>
class Deviations {
 public:
  // Every edge has as many parts, one after the other.
  Deviations(const T* guess, int64_t edges, int64_t parts, int64_t channels)
      : guess_(guess),
        edges_(edges),
        parts_(parts),
        lanes_(channels, kLanes<T>),
        origins_(lanes_.spread(guess, 2 * edges)),
        totals_(parts * 2 * channels) {}

  // Numbers [pixel, channel] of a part, which belongs to an edge.
  void add(int64_t part, int64_t edge, const T* numbers, int64_t size) {
    constexpr int V = kLanes<T>;
    const T* origin = origins_.get() + 2 * edge * lanes_.period;
    add_sums(
        numbers, numbers, size, lanes_, totals_.data() + part * 2 * lanes_.channels,
        [origin](Vec<T, V> a, Vec<T, V>, int64_t kind) {
          return a - load<T, V>(origin + kind);
        },
        [origin](Vec<T, V> a, Vec<T, V>, int64_t kind) {
          const Vec<T, V> distance = a - load<T, V>(origin + kind);
          return distance * distance;
        });
  }

  // Mean and biased variance [edge, 2, channel] of so many pixels of each edge.
  void moments(int64_t pixels, T* result) const {
    const int64_t c = lanes_.channels, of_edge = parts_ / edges_;
    for (int64_t e = 0; e < edges_; ++e)
      for (int64_t k = 0; k < c; ++k) {
        double sum = 0, squares = 0;
        for (int64_t p = e * of_edge; p < (e + 1) * of_edge; ++p) {
          sum += totals_[p * 2 * c + k];
          squares += totals_[(p * 2 + 1) * c + k];
        }
        const double mean = sum / pixels;
        result[e * 2 * c + k] = T(guess_[e * 2 * c + k] + mean);
        const double variance = squares / pixels - mean * mean;
        result[(e * 2 + 1) * c + k] = T(variance < 0 ? 0 : variance);  // NaN stays
      }
  }

 private:
  const T* guess_;
  int64_t edges_, parts_;
  Lanes lanes_;
  Buffer<T> origins_;
  std::vector<double> totals_;
};

// Mean and biased variance of every channel: result [edge, 2, channel]. Numbers are taken
// relative to a guess, so that a mean far from zero cancels few digits.
template <class T>
void moments(xla::ffi::ThreadPool& pool, const T* x, const T* guess, int64_t edges,
             int64_t pixels, int64_t channels, T* result) {
  const int64_t parts = pixels * channels < 4 * kRun ? 1 : kSumParts;
  Deviations<T> deviations(guess, edges, edges * parts, channels);
  parallel_for(pool, edges * parts, [&](int64_t i) {
    const int64_t e = i / parts, p = i % parts;
    const int64_t begin = p * pixels / parts, end = (p + 1) * pixels / parts;
    deviations.add(i, e, x + (e * pixels + begin) * channels, (end - begin) * channels);
  });
  deviations.moments(pixels, result);
}

// Sums of a and of a * b by channel: result [edge, 2, channel].
template <class T>
void channel_sums(xla::ffi::ThreadPool& pool, const T* a, const T* b, int64_t edges,
                  int64_t pixels, int64_t channels, T* result) {
  constexpr int V = kLanes<T>;
  const Lanes lanes(channels, V);
  std::vector<double> totals(2 * channels);
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t begin = e * pixels * channels;
    sum_pairs(
        pool, a + begin, b + begin, pixels, lanes, totals.data(),
        [](Vec<T, V> a, Vec<T, V>, int64_t) { return a; },
        [](Vec<T, V> a, Vec<T, V> b, int64_t) { return a * b; });
    std::copy_n(totals.data(), 2 * channels, result + e * 2 * channels);
  }
}

// One edge's arrays, and how its normal numbers y = (x - mean) * inverse come of x.
template <class T>
struct Normal {
  const T* x;
  const T* mean;
  const T* inverse;
  int64_t pixels, channels;
};

// result = (t - mean(t) - y * mean(y * t)) * scale by channel: what batch normalisation
// to y does to a change t, and to a cotangent too; along [channel] = sum(y * t).
template <class T>
void project_edge(xla::ffi::ThreadPool& pool, const T* t, const Normal<T>& normal,
                  const T* scale, T* result, T* along) {
  constexpr int V = kLanes<T>;
  const int64_t c = normal.channels, size = normal.pixels * c;
  const Lanes lanes(c, V);
  const Buffer<T> mean = lanes.spread(normal.mean, 1);
  const Buffer<T> inverse = lanes.spread(normal.inverse, 1);
  std::vector<double> sums(2 * c);
  sum_pairs(
      pool, t, normal.x, normal.pixels, lanes, sums.data(),
      [](Vec<T, V> t, Vec<T, V>, int64_t) { return t; },
      [&](Vec<T, V> t, Vec<T, V> x, int64_t kind) {
        return t * ((x - load<T, V>(mean.get() + kind)) * load<T, V>(inverse.get() + kind));
      });
  std::vector<T> means(2 * c);
  for (int64_t k = 0; k < 2 * c; ++k) means[k] = T(sums[k]) / T(normal.pixels);
  for (int64_t k = 0; k < c; ++k) along[k] = T(sums[c + k]);
  const Buffer<T> of_t = lanes.spread(means.data(), 1);
  const Buffer<T> of_product = lanes.spread(means.data() + c, 1);
  const Buffer<T> scales = lanes.spread(scale, 1);
  const int64_t run = round_up(kRun, lanes.period);
  parallel_for(pool, (size + run - 1) / run, [&](int64_t i) {
    const int64_t begin = i * run, end = std::min(size, begin + run);
    for (int64_t kind = 0; kind < lanes.period; kind += V) {
      const Vec<T, V> m = load<T, V>(mean.get() + kind), s = load<T, V>(inverse.get() + kind);
      const Vec<T, V> t_mean = load<T, V>(of_t.get() + kind);
      const Vec<T, V> slope = load<T, V>(of_product.get() + kind);
      const Vec<T, V> by = load<T, V>(scales.get() + kind);
      const auto projected = [&](Vec<T, V> t, Vec<T, V> x) {
        return (t - t_mean - (x - m) * s * slope) * by;
      };
      int64_t f = begin + kind;
      for (; f + V <= end; f += lanes.period)
        store<T, V>(result + f, projected(load<T, V>(t + f), load<T, V>(normal.x + f)));
      if (f >= end) continue;
      Vec<T, V> t_part{}, x_part{};
      std::memcpy(&t_part, t + f, (end - f) * sizeof(T));
      std::memcpy(&x_part, normal.x + f, (end - f) * sizeof(T));
      store_part<T, V>(result + f, projected(t_part, x_part), end - f);
    }
  });
}

// The same for every edge, of numbers that are normal already.
template <class T>
void project(xla::ffi::ThreadPool& pool, const T* t, const T* y, const T* scale,
             int64_t edges, int64_t pixels, int64_t channels, T* result) {
  const std::vector<T> zeros(channels, T(0)), ones(channels, T(1));
  std::vector<T> along(channels);
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t at = e * pixels * channels;
    project_edge<T>(pool, t + at, {y + at, zeros.data(), ones.data(), pixels, channels},
                    scale + e * channels, result + at, along.data());
  }
}

// Cotangents of x and of the weights [edge, channel] of normalised and weighted x, from t
// and the moments [edge, 2, channel].
template <class T>
void weighted_back(xla::ffi::ThreadPool& pool, const T* t, const T* x, const T* moments,
                   const T* weight, int64_t edges, int64_t pixels, int64_t channels,
                   T epsilon, T* x_back, T* weight_back) {
  std::vector<T> inverse(channels), scale(channels);
  for (int64_t e = 0; e < edges; ++e) {
    const T *mean = moments + e * 2 * channels, *variance = mean + channels;
    for (int64_t k = 0; k < channels; ++k) {
      inverse[k] = 1 / std::sqrt(variance[k] + epsilon);
      scale[k] = inverse[k] * weight[e * channels + k];
    }
    const int64_t at = e * pixels * channels;
    project_edge<T>(pool, t + at, {x + at, mean, inverse.data(), pixels, channels},
                    scale.data(), x_back + at, weight_back + e * channels);
  }
}

}  // namespace darts

#endif  // DARTS_JAX_SUMS_H_
