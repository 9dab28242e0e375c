// ReLU, depthwise and pointwise convolution as one pass over memory: forward with the
// moments of the outputs, and its change along tangents.
//
// What lies between, a row, stays in the nearest caches. Nothing of it is kept for the
// backward pass, which makes it again.
#pragma once

#include "convolution.h"
#include "depthwise.h"
#include "sums.h"

namespace darts {

// Arrays of all edges: x [group, batch, height, width, in], depthwise kernels
// [edge, *taps, in], pointwise kernels [edge, 1, 1, in, out].
template <class T>
struct Separable {
  const T* x;
  const T* depthwise;
  const T* pointwise;
  Edges edges;
  int64_t batch, from, to;
  Window window;

  int64_t image() const { return window.pixels() * from; }
  int64_t output() const { return window.outputs() * to; }
};

// Where tangents of these arrays lie.
template <class T>
struct Tangents {
  const T* x;
  const T* depthwise;
  const T* pointwise;
};

// What makes the rows of an image of outputs: N is one, or two where their change along
// tangents is made beside them.
template <class T, int V, size_t N>
class SeparableRows {
 public:
  SeparableRows(const Separable<T>& s, const Lanes& lanes, int64_t padded)
      : s_(s),
        lanes_(lanes),
        padded_(padded),
        down_(forward_phases(s.window.down)[0]),
        across_(forward_phases(s.window.across)[0]),
        rows_({s.window.down.image, s.window.across.image}, {down_}, {across_}, lanes, N),
        columns_(columns_of(across_, rows_, lanes)),
        between_(N * row(), false) {
    sum_.columns = &columns_;
    sum_.apart = rows_.apart();
  }
  SeparableRows(const SeparableRows&) = delete;

  // Of an image, and of its change, which is gated by it.
  void begin(const T* x, const T* x_change = nullptr) { rows_.begin(x, x_change, x); }

  // Row r of what lies between the convolutions; valid until the next.
  std::array<T*, N> depthwise_row(int64_t r, const Taps<T>& taps) {
    std::array<T*, N> out;
    for (size_t k = 0; k < N; ++k) out[k] = between_.get() + k * row();
    sum_.clear();
    see(down_, r, rows_, taps, s_.window.across.kernel * lanes_.period, sum_);
    sum_row(sum_, lanes_, row(), out);
    return out;
  }

  // Row r of the sum of products, in an image.
  void pointwise_row(std::initializer_list<Product<T>> products, int64_t r, T* y) const {
    const int64_t width = s_.window.across.output;
    product_row<T, V>({products.begin(), int64_t(products.size()), s_.from, s_.from,
                       padded_, y + r * width * s_.to, s_.to, s_.to},
                      width);
  }

  int64_t row() const { return s_.window.across.output * s_.from; }

 private:
  const Separable<T> s_;
  const Lanes lanes_;
  const int64_t padded_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> between_;
  RowSum<T> sum_;
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to a guess.
template <class T>
void separable(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* guess, T* y,
               T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), edges = s.edges.count;
    const Buffer<T> spread = lanes.spread(s.depthwise, edges * s.window.taps());
    const Buffer<T> matrices = packed(pool, s.pointwise, edges, s.from, s.to, false, padded);
    Deviations<T> deviations(guess, edges, edges * s.batch, s.to);
    const auto make = [&] { return SeparableRows<T, V, 1>(s, lanes, padded); };
    parallel_for(pool, edges * s.batch, make, [&](auto& rows, int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const Taps<T> taps{spread.get() + at.edge * s.window.taps() * lanes.period};
      const T* matrix = matrices.get() + at.edge * s.from * padded;
      T* out = y + at.output * s.output();
      rows.begin(s.x + at.image * s.image());
      for (int64_t r = 0; r < s.window.down.output; ++r) {
        const auto [z] = rows.depthwise_row(r, taps);
        rows.pointwise_row({{z, matrix}}, r, out);
      }
      deviations.add(at.output, at.edge, out, s.output());
    });
    deviations.moments(s.window.outputs() * s.batch, moments);
  });
}

// The change of y along tangents.
template <class T>
void separable_change(xla::ffi::ThreadPool& pool, const Separable<T>& s,
                      const Tangents<T>& t, T* y_change) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const int64_t edges = s.edges.count;
    const Buffer<T> spread = lanes.spread(s.depthwise, edges * taps);
    const Buffer<T> spread_change = lanes.spread(t.depthwise, edges * taps);
    const Buffer<T> matrices = packed(pool, s.pointwise, edges, s.from, s.to, false, padded);
    const Buffer<T> changes = packed(pool, t.pointwise, edges, s.from, s.to, false, padded);
    const auto make = [&] { return SeparableRows<T, V, 2>(s, lanes, padded); };
    parallel_for(pool, edges * s.batch, make, [&](auto& rows, int64_t i) {
      const Place at = s.edges.place(i, s.batch);
      const int64_t image = at.image * s.image(), output = at.output * s.output();
      const int64_t tap = at.edge * taps * lanes.period;
      const Taps<T> moving{spread.get() + tap, spread_change.get() + tap};
      const T* matrix = matrices.get() + at.edge * s.from * padded;
      const T* matrix_change = changes.get() + at.edge * s.from * padded;
      rows.begin(s.x + image, t.x + image);
      for (int64_t r = 0; r < s.window.down.output; ++r) {
        const auto [z, z_change] = rows.depthwise_row(r, moving);
        rows.pointwise_row({{z_change, matrix}, {z, matrix_change}}, r, y_change + output);
      }
    });
  });
}

}  // namespace darts
