// The ways back through ReLU, depthwise and pointwise convolution: to the image and to the
// kernels, or to the image alone; and their changes along tangents.
#pragma once

#include "separable.h"

namespace darts {

// What the ways back share.
template <class T, int BACK>
struct SeparableBack {
  const Separable<T>& s;
  const Lanes lanes{s.from, kLanes<T>};
  const int64_t taps = s.window.taps(), padded = round_up(s.from, BACK);
  const std::vector<Phase> down = backward_phases(s.window.down);
  const std::vector<Phase> across = backward_phases(s.window.across);
  const Size output{s.window.down.output, s.window.across.output};

  Buffer<T> spread(const T* depthwise) const {
    return lanes.spread(depthwise, s.edges.count * taps);
  }
  Buffer<T> transposed(xla::ffi::ThreadPool& pool, const T* pointwise) const {
    return packed(pool, pointwise, s.edges.count, s.to, s.from, true, padded);
  }

  // An edge's part of arrays [edge, ...].
  const T* taps_of(const Buffer<T>& spread, int64_t e) const {
    return spread.get() + e * taps * lanes.period;
  }
  const T* matrix_of(const Buffer<T>& transposed, int64_t e) const {
    return transposed.get() + e * s.to * padded;
  }
  const T* image_of(const T* g, int64_t e, int64_t n) const {
    return g + (e * s.batch + n) * s.output();
  }

  // Row r of cotangents of what lies between the convolutions. Those two rows on are asked
  // for, and behind the last those of the image that follows: products read pixels out of
  // order.
  void row_between(std::initializer_list<Product<T>> of_images, int64_t r, T* result) const {
    const int64_t read = output.width * s.to;
    std::array<Product<T>, 2> products;
    int64_t count = 0;
    for (const Product<T>& product : of_images) {
      products[count] = product;
      products[count].pixels += r * read;
      prefetch(products[count++].pixels + 2 * read, read);
    }
    product_row<T, BACK>(
        {products.data(), count, s.to, s.to, padded, result, s.from, s.from}, output.width);
  }

  // From so many sources, of one image each or of two, to the image that all reach.
  template <class Source>
  DepthwiseMap<T, Source> reached(int64_t sources, int64_t images) const {
    return {sources, images, output,          down, across, s.window.across.kernel,
            lanes,   s.window.across.image};
  }
};

// Rows of cotangents of what lies between the convolutions, of an edge and an image; and of
// their change.
template <class T, int BACK>
class BetweenRows : public Ring<T> {
 public:
  using Ring<T>::Ring;

  struct Change {
    const T *g, *matrix;
  };

  void begin(const SeparableBack<T, BACK>& back, const T* g, const T* matrix,
             const Change& change = {}) {
    back_ = &back;
    g_ = g;
    matrix_ = matrix;
    change_ = change;
    this->forget();
  }

  const T* row(int64_t row) {
    return this->held(row, [&](T* to) {
      T* first = to + this->offset(0);
      back_->row_between({{g_, matrix_}}, row, first);
      if (change_.g)
        back_->row_between({{change_.g, matrix_}, {g_, change_.matrix}}, row,
                           first + this->apart());
    });
  }

 private:
  const SeparableBack<T, BACK>* back_ = nullptr;
  const T *g_ = nullptr, *matrix_ = nullptr;
  Change change_{};
};

// The cotangent of x alone, from g [edge, batch, *output, out].
template <class T>
void separable_image_back(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g,
                          T* x) {
  with_lanes<T>(s.from, [&](auto back) {
    constexpr int BACK = back;
    const SeparableBack<T, BACK> b{s};
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    const int64_t sharing = s.edges.sharing;
    const auto make = [&] {
      return b.template reached<BetweenRows<T, BACK>>(sharing, 1);
    };
    parallel_for(pool, s.edges.groups() * s.batch, make, [&](auto& map, int64_t i) {
      for (int64_t k = 0; k < sharing; ++k) {
        const int64_t e = i / s.batch * sharing + k;
        map.from(k, {b.taps_of(spread, e)})
            .begin(b, b.image_of(g, e, i % s.batch), b.matrix_of(matrices, e));
      }
      const int64_t image = i * s.image();
      map.image(std::array{x + image}, s.x + image);
    });
  });
}

// How that changes along tangents of g and of the kernels.
template <class T>
void separable_image_back_change(xla::ffi::ThreadPool& pool, const Separable<T>& s,
                                 const T* g, const T* g_change, const Tangents<T>& t,
                                 T* x_change) {
  with_lanes<T>(s.from, [&](auto back) {
    constexpr int BACK = back;
    const SeparableBack<T, BACK> b{s};
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    const Buffer<T> spread_change = b.spread(t.depthwise);
    const Buffer<T> matrix_changes = b.transposed(pool, t.pointwise);
    const int64_t sharing = s.edges.sharing;
    struct Tools {
      DepthwiseMap<T, BetweenRows<T, BACK>> map;
      Buffer<T> unwanted;
    };
    const auto make = [&] {
      return Tools{b.template reached<BetweenRows<T, BACK>>(sharing, 2),
                   Buffer<T>(s.image(), false)};
    };
    parallel_for(pool, s.edges.groups() * s.batch, make, [&](Tools& tools, int64_t i) {
      const int64_t n = i % s.batch, image = i * s.image();
      for (int64_t k = 0; k < sharing; ++k) {
        const int64_t e = i / s.batch * sharing + k;
        tools.map.from(k, {b.taps_of(spread, e), b.taps_of(spread_change, e)})
            .begin(b, b.image_of(g, e, n), b.matrix_of(matrices, e),
                   {b.image_of(g_change, e, n), b.matrix_of(matrix_changes, e)});
      }
      tools.map.image(std::array{tools.unwanted.get(), x_change + image}, s.x + image);
    });
  });
}

// Sums over the images of a batch, in parts that are added up in their order.
template <class T, int V>
struct SeparableSums {
  const Separable<T>& s;
  const Lanes lanes{s.from, kLanes<T>};
  const int64_t edges = s.edges.count, sharing = s.edges.sharing, taps = s.window.taps();
  const int64_t padded = round_up(s.to, V);
  const int64_t parts = std::min(s.batch, kParts), size = s.from * padded;
  Buffer<T> tap_sums{edges * parts * taps * lanes.period};
  Buffer<T> matrix_sums{edges * parts * size};

  T* taps_of(int64_t e, int64_t part) const {
    return tap_sums.get() + (e * parts + part) * taps * lanes.period;
  }
  T* matrix_of(int64_t e, int64_t part) const {
    return matrix_sums.get() + (e * parts + part) * size;
  }

  // Calls work(first edge of a group, part, image's number among all, its number n).
  template <class Work>
  void for_images(int64_t p, const Work& work) const {
    const int64_t group = p / parts, part = p % parts;
    for (int64_t n = part * s.batch / parts; n < (part + 1) * s.batch / parts; ++n)
      work(group * sharing, part, group * s.batch + n, n);
  }

  void finish(T* depthwise, T* pointwise) const {
    std::fill_n(depthwise, edges * taps * s.from, T(0));
    for (int64_t p = 0; p < edges * parts; ++p)
      lanes.gather(tap_sums.get() + p * taps * lanes.period, taps,
                   depthwise + p / parts * taps * s.from);
    for (int64_t e = 0; e < edges; ++e)
      narrow(added_up(matrix_sums.get() + e * parts * size, parts, size), s.from, s.to,
             padded, pointwise + e * s.from * s.to);
  }
};

// Cotangents of x and of the kernels, from g [edge, batch, *output, out].
template <class T>
void separable_back(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g, T* x,
                    T* depthwise, T* pointwise) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    const SeparableBack<T, BACK> b{s};
    const SeparableSums<T, V> sums{s};
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    const Size size = b.output;
    parallel_for(pool, s.edges.groups() * sums.parts, [&](int64_t p) {
      SeparableRows<T, V, 1> rows(s, b.lanes, sums.padded);
      Correlation<T> correlation(s.window, b.lanes);
      Buffer<T> all(sums.sharing * size.height * rows.row(), false);
      Buffer<T> wide(size.width * sums.padded);
      auto map = b.template reached<Rows<T>>(sums.sharing, 1);
      sums.for_images(p, [&](int64_t first, int64_t part, int64_t i, int64_t n) {
        const T* x_image = s.x + i * s.image();
        for (int64_t e = first; e < first + sums.sharing; ++e) {
          const T *taps = b.taps_of(spread, e), *g_image = b.image_of(g, e, n);
          T* between = all.get() + (e - first) * size.height * rows.row();
          map.from(e - first, {taps}).begin(between);
          rows.begin(x_image);
          correlation.rows().begin(x_image, x_image);
          for (int64_t r = 0; r < size.height; ++r) {
            T* row = between + r * rows.row();
            b.row_between({{g_image, b.matrix_of(matrices, e)}}, r, row);
            const auto [z] = rows.depthwise_row(r, {taps});
            const T* g_row = widened(g_image + r * size.width * s.to, size.width, s.to,
                                     sums.padded, wide);
            outer<T, V>(z, s.from, s.from, g_row, size.width, sums.matrix_of(e, part),
                        sums.padded);
            correlation.add(r, row, sums.taps_of(e, part));
          }
        }
        map.image(std::array{x + i * s.image()}, x_image);
      });
    });
    sums.finish(depthwise, pointwise);
  });
}

// How these change along tangents of g, of x and of the kernels.
template <class T>
void separable_back_change(xla::ffi::ThreadPool& pool, const Separable<T>& s, const T* g,
                           const T* g_change, const Tangents<T>& t, T* x, T* depthwise,
                           T* pointwise) {
  with_both_lanes<T>(s.from, s.to, [&](auto back, auto v) {
    constexpr int BACK = back, V = v;
    const SeparableBack<T, BACK> b{s};
    const SeparableSums<T, V> sums{s};
    const Buffer<T> spread = b.spread(s.depthwise), matrices = b.transposed(pool, s.pointwise);
    const Buffer<T> spread_change = b.spread(t.depthwise);
    const Buffer<T> matrix_changes = b.transposed(pool, t.pointwise);
    const Size size = b.output;
    parallel_for(pool, s.edges.groups() * sums.parts, [&](int64_t p) {
      SeparableRows<T, V, 2> rows(s, b.lanes, sums.padded);
      Correlation<T> fixed(s.window, b.lanes), moving(s.window, b.lanes);
      const int64_t image = size.height * rows.row();
      Buffer<T> all(2 * sums.sharing * image, false), wide(size.width * sums.padded);
      auto map = b.template reached<Rows<T>>(2 * sums.sharing, 1);
      sums.for_images(p, [&](int64_t first, int64_t part, int64_t i, int64_t n) {
        const T *x_image = s.x + i * s.image(), *x_moved = t.x + i * s.image();
        for (int64_t k = 0; k < sums.sharing; ++k) {
          const int64_t e = first + k;
          const Taps<T> taps{b.taps_of(spread, e), b.taps_of(spread_change, e)};
          const T *matrix = b.matrix_of(matrices, e), *moved = b.matrix_of(matrix_changes, e);
          const T *g_image = b.image_of(g, e, n), *g_moved = b.image_of(g_change, e, n);
          T *between = all.get() + 2 * k * image, *change = between + image;
          map.from(2 * k, {taps.itself}).begin(change);
          map.from(2 * k + 1, {taps.change}).begin(between);
          rows.begin(x_image, x_moved);
          fixed.rows().begin(x_image, x_image);
          moving.rows().begin(x_moved, x_image);
          for (int64_t r = 0; r < size.height; ++r) {
            const int64_t row = r * rows.row(), at = r * size.width * s.to;
            b.row_between({{g_image, matrix}}, r, between + row);
            b.row_between({{g_moved, matrix}, {g_image, moved}}, r, change + row);
            const auto [z, z_change] = rows.depthwise_row(r, taps);
            const auto add_outer = [&](const T* z, const T* g_rows) {
              const T* g_row = widened(g_rows + at, size.width, s.to, sums.padded, wide);
              outer<T, V>(z, s.from, s.from, g_row, size.width, sums.matrix_of(e, part),
                          sums.padded);
            };
            add_outer(z, g_moved);
            add_outer(z_change, g_image);
            fixed.add(r, change + row, sums.taps_of(e, part));
            moving.add(r, between + row, sums.taps_of(e, part));
          }
        }
        map.image(std::array{x + i * s.image()}, x_image);
      });
    });
    sums.finish(depthwise, pointwise);
  });
}

}  // namespace darts
