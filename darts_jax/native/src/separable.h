// ReLU, depthwise and pointwise convolution as one pass over memory: forward with the
// moments of the outputs, its change along tangents, and backward.
//
// What lies between, a row or an image, stays in the nearest caches. Nothing of it is kept
// for the backward pass, which makes it again.
#ifndef DARTS_JAX_SEPARABLE_H_
#define DARTS_JAX_SEPARABLE_H_

#include "convolution.h"
#include "depthwise.h"
#include "sums.h"

namespace darts {

// Arrays of all edges: x [edge, batch, height, width, in], depthwise kernels
// [edge, *taps, in], pointwise kernels [edge, in, out].
template <class T>
struct Separable {
  const T* x;
  const T* depthwise;
  const T* pointwise;
  int64_t edges, batch, from, to;
  Window window;

  int64_t pixels() const { return window.down.image * window.across.image; }
  int64_t outputs() const { return window.down.output * window.across.output; }
};

// Where tangents lie: as the arrays themselves; or nowhere.
template <class T>
struct Tangents {
  const T* x = nullptr;
  const T* depthwise = nullptr;
  const T* pointwise = nullptr;
};

// An image of outputs, or of their change along tangents, row by row: from taps
// [tap, kind, lane] and a matrix [in, padded out].
template <class T, int V>
class SeparableImage {
 public:
  SeparableImage(const Separable<T>& s, const Lanes& lanes, int64_t padded)
      : s_(s),
        lanes_(lanes),
        padded_(padded),
        down_(forward_phases(s.window.down)[0]),
        across_(forward_phases(s.window.across)[0]),
        rows_(make_rows()),
        columns_(columns_of(across_, rows_, lanes)),
        z_(row(), false) {
    sum_.columns = &columns_;
  }
  SeparableImage(const SeparableImage&) = delete;

  void begin(const T* x) { rows_.begin(x, x); }

  void outputs(const T* x, const T* taps, const T* matrix, T* y) {
    begin(x);
    for (int64_t r = 0; r < s_.window.down.output; ++r) {
      const Product<T> product{depthwise_row(r, taps), matrix};
      pointwise_row(&product, 1, r, y);
    }
  }

  void change(const T* x, const T* x_change, const T* taps, const T* taps_change,
              const T* matrix, const T* matrix_change, T* y) {
    Rows<T> changes = make_rows();
    Buffer<T> change(row(), false);
    begin(x);
    changes.begin(x_change, x);
    for (int64_t r = 0; r < s_.window.down.output; ++r) {
      sum_.rows.clear();
      see(down_, r, rows_, taps_change, stride(), sum_);
      see(down_, r, changes, taps, stride(), sum_);
      sum_row(sum_, lanes_, change.get(), row());
      const Product<T> products[] = {{change.get(), matrix},
                                     {depthwise_row(r, taps), matrix_change}};
      pointwise_row(products, 2, r, y);
    }
  }

  // Row r of what lies between the convolutions; valid until the next.
  const T* depthwise_row(int64_t r, const T* taps) {
    sum_.rows.clear();
    see(down_, r, rows_, taps, stride(), sum_);
    sum_row(sum_, lanes_, z_.get(), row());
    return z_.get();
  }

 private:
  int64_t row() const { return s_.window.across.output * s_.from; }
  int64_t stride() const { return s_.window.across.kernel * lanes_.period; }

  Rows<T> make_rows() const {
    const int64_t width = s_.window.across.image;
    return Rows<T>(s_.window.down.image, width, s_.from, Margin({across_}, width),
                   across_.step, rows_held({down_}), lanes_.lanes);
  }

  void pointwise_row(const Product<T>* products, int64_t count, int64_t r, T* y) const {
    const int64_t width = s_.window.across.output;
    product_row<T, V>({products, count, s_.from, s_.from, padded_,
                       y + r * width * s_.to, s_.to, s_.to},
                      width);
  }

  const Separable<T> s_;
  const Lanes lanes_;
  const int64_t padded_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> z_;
  RowSum<T> sum_;
};

// y [edge, batch, *output, out], and its moments [edge, 2, out] relative to `origin`.
template <class T>
void separable(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* origin, T* y,
               T* moments) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const Buffer<T> spread = lanes.spread(s.depthwise, s.edges * taps);
    const Buffer<T> matrices = packed(s.pointwise, s.edges, s.from, s.to, false, padded);
    Deviations<T> deviations(origin, s.edges, s.edges * s.batch, s.to);
    parallel_for(pool, s.edges * s.batch, [&](int64_t i) {
      const int64_t e = i / s.batch;
      T* image = y + i * s.outputs() * s.to;
      SeparableImage<T, V>(s, lanes, padded)
          .outputs(s.x + i * s.pixels() * s.from, spread.get() + e * taps * lanes.period,
                   matrices.get() + e * s.from * padded, image);
      deviations.add(i, e, image, s.outputs() * s.to);
    });
    deviations.moments(s.outputs() * s.batch, moments);
  });
}

// The change of y along tangents.
template <class T>
void separable_change(xla::ffi::ThreadPool& pool, const Separable<T>& s,
                      const Tangents<T>& t, T* y) {
  with_lanes<T>(s.to, [&](auto v) {
    constexpr int V = v;
    const Lanes lanes(s.from, kLanes<T>);
    const int64_t padded = round_up(s.to, V), taps = s.window.taps();
    const Buffer<T> spread = lanes.spread(s.depthwise, s.edges * taps);
    const Buffer<T> spread_change = lanes.spread(t.depthwise, s.edges * taps);
    const Buffer<T> matrices = packed(s.pointwise, s.edges, s.from, s.to, false, padded);
    const Buffer<T> changes = packed(t.pointwise, s.edges, s.from, s.to, false, padded);
    parallel_for(pool, s.edges * s.batch, [&](int64_t i) {
      const int64_t image = i * s.pixels() * s.from;
      const int64_t tap = i / s.batch * taps * lanes.period;
      const int64_t matrix = i / s.batch * s.from * padded;
      SeparableImage<T, V>(s, lanes, padded)
          .change(s.x + image, t.x + image, spread.get() + tap, spread_change.get() + tap,
                  matrices.get() + matrix, changes.get() + matrix,
                  y + i * s.outputs() * s.to);
    });
  });
}

// Cotangents of x and of the kernels, from g [edge, batch, *output, out].
template <class T>
void separable_back(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g, T* x,
                    T* depthwise, T* pointwise) {
  const Lanes lanes(s.from, kLanes<T>);
  const int64_t taps = s.window.taps(), parts = std::min(s.batch, kParts);
  const auto down = backward_phases(s.window.down);
  const auto across = backward_phases(s.window.across);
  const Size output{s.window.down.output, s.window.across.output};
  const Buffer<T> spread = lanes.spread(s.depthwise, s.edges * taps);
  Buffer<T> tap_sums(s.edges * parts * taps * lanes.period);
  with_lanes<T>(s.from, [&](auto back) {
    constexpr int BACK = back;
    const int64_t padded_from = round_up(s.from, BACK);
    const Buffer<T> transposed =
        packed(s.pointwise, s.edges, s.to, s.from, true, padded_from);
    with_lanes<T>(s.to, [&](auto v) {
      constexpr int V = v;
      const int64_t padded = round_up(s.to, V), size = s.from * padded;
      Buffer<T> sums(s.edges * parts * size);
      parallel_for(pool, s.edges * parts, [&](int64_t p) {
        const int64_t e = p / parts, part = p % parts;
        const T* spread_taps = spread.get() + e * taps * lanes.period;
        SeparableImage<T, V> image(s, lanes, padded);
        Correlation<T> correlation(s.window, lanes);
        Buffer<T> between(s.outputs() * s.from, false), wide(output.width * padded);
        for (int64_t n = part * s.batch / parts; n < (part + 1) * s.batch / parts; ++n) {
          const int64_t i = e * s.batch + n;
          const T* x_image = s.x + i * s.pixels() * s.from;
          const T* g_image = g + i * s.outputs() * s.to;
          const Product<T> product{g_image, transposed.get() + e * s.to * padded_from};
          product_row<T, BACK>({&product, 1, s.to, s.to, padded_from, between.get(),
                                s.from, s.from},
                               s.outputs());
          image.begin(x_image);
          correlation.rows().begin(x_image, x_image);
          for (int64_t r = 0; r < output.height; ++r) {
            const T* z = image.depthwise_row(r, spread_taps);
            const T* g_row = widened(g_image + r * output.width * s.to, output.width, s.to,
                                     padded, wide);
            outer<T, V>(z, s.from, s.from, g_row, output.width, sums.get() + p * size,
                        padded);
            correlation.add(r, between.get() + r * output.width * s.from,
                            tap_sums.get() + p * taps * lanes.period);
          }
          T* x_back = x + i * s.pixels() * s.from;
          depthwise_image(between.get(), output, down, across, s.window.across.kernel,
                          spread_taps, lanes, x_back, s.window.across.image);
          copy_gated(x_back, x_image, s.pixels() * s.from, x_back);
        }
      });
      std::fill_n(depthwise, s.edges * taps * s.from, T(0));
      std::fill_n(pointwise, s.edges * s.from * s.to, T(0));
      for (int64_t p = 0; p < s.edges * parts; ++p) {
        lanes.gather(tap_sums.get() + p * taps * lanes.period, taps,
                     depthwise + p / parts * taps * s.from);
        add_narrowed(sums.get() + p * size, s.from, s.to, padded,
                     pointwise + p / parts * s.from * s.to);
      }
    });
  });
}

}  // namespace darts

#endif  // DARTS_JAX_SEPARABLE_H_
