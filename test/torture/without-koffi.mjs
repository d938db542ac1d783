import { registerHooks } from 'node:module'

// Preloaded: the module that calls into the C library is as good as not installed.
registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'koffi') throw new Error('koffi is not installed')
    return next(specifier, context)
  },
})
